package alarm

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/run"
	"falcon/modules/alarm/sender"
)

// callbackURL returns the address of a callback with its parameters (contract alerting
// 4.6).
func callbackURL(address string, e *model.Event, loc *time.Location) string {
	var tags []string
	for k, v := range e.PushedTags {
		tags = append(tags, k+":"+v)
	}
	slices.Sort(tags)
	template := 0
	if t := e.Tpl(); t != nil {
		template = t.Id
	}
	v := url.Values{
		"endpoint": {e.Endpoint}, "metric": {e.Metric()}, "status": {e.Status}, "step": {strconv.Itoa(e.CurrentStep)},
		"priority": {strconv.Itoa(e.Priority())}, "time": {time.Unix(e.EventTime, 0).In(loc).Format(time.DateTime)},
		"tpl_id": {strconv.Itoa(template)}, "exp_id": {strconv.Itoa(e.ExpressionId())}, "stra_id": {strconv.Itoa(e.StrategyId())},
		"left_value": {leftOf(e)}, "tags": {strings.Join(tags, ",")},
	}
	join := "?"
	if strings.Contains(address, "?") {
		join = "&"
	}
	return address + join + v.Encode()
}

// call makes the callback of an action: first the messages before it, then the call,
// then the messages after it. Its results are those of try.
func (a *Alarm) call(ctx context.Context, o *outlet, m *message) (result string, n int, answer string) {
	action := m.item.action
	if !a.beside(ctx, m, "before", action.BeforeCallbackSMS == 1, action.BeforeCallbackMail == 1, m.text) {
		return "", 0, ""
	}
	address := strings.TrimSpace(action.URL)
	var said string
	var err error
	for {
		if address == "" {
			said, n = "callback url is blank", 1
			break
		}
		select {
		case o.calls <- struct{}{}:
		case <-ctx.Done():
			return "", n, ""
		}
		if !a.still(m) {
			<-o.calls
			return notMine, n, ""
		}
		n++
		var body string
		body, err = a.callbacks.Get(a.hard, callbackURL(address, m.item.event, a.loc))
		o.called(err)
		<-o.calls
		if a.hard.Err() != nil {
			return "", n, ""
		}
		if err == nil {
			said = fmt.Sprintf("curl %s success. resp: %s", address, body)
			break
		}
		// The parameters are no news.
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		said = fmt.Sprintf("curl %s fail:%v. resp: %s", address, err, body)
		if n == tries {
			break
		}
		a.retries.Add(typeCallback, 1)
		if !run.Sleep(ctx, a.gap) {
			return "", n, ""
		}
	}
	after := m.text
	after.Short, after.Body = said, said
	if !a.beside(ctx, m, "after", action.AfterCallbackSMS == 1, action.AfterCallbackMail == 1, after) {
		return "", n, ""
	}
	a.sent(typeCallback, err == nil)
	if err != nil {
		a.failing.Set(a.log, "a callback fails", "callback "+address, err)
		return portal.NoticeFailed, n, said
	}
	a.failing.Clear("callback " + address)
	return portal.NoticeSent, n, said
}

// beside tells people of a callback, when its action wants that, and waits until they
// are told. It returns false when ctx has ended.
func (a *Alarm) beside(ctx context.Context, m *message, when string, bySMS, byMail bool, text sender.Message) bool {
	for _, ch := range a.channels.chosen(m.item.action) {
		switch {
		case bySMS && (ch.typ == sender.SMS || ch.typ == sender.IM):
		case byMail && (ch.typ == sender.Mail || ch.typ == sender.FormMail):
		default:
			continue
		}
		var notices []portal.Notice
		var to []string
		for _, p := range m.item.people {
			if addr := p.Address(ch.typ); addr != "" {
				n := m.notices[0]
				n.ID, n.Attempts, n.Result, n.Answer, n.Receiver, n.Channel = 0, 0, "", "", p.Name, shortened(ch.name, 64-len(when)-1)+" "+when
				notices, to = append(notices, n), append(to, addr)
			}
		}
		if len(notices) == 0 {
			continue
		}
		one := &message{item: m.item, ch: ch, text: text}
		if ctx.Err() != nil {
			return false
		}
		if m.item.owed != nil {
			if !a.besideOwed(ctx, one, notices, to) {
				return false
			}
			continue
		}
		ok := a.insist(a.hard, "queue messages", func() error {
			rows, err := a.deps.DB.QueueNotices(a.hard, notices)
			if err != nil {
				return err
			}
			mine, err := a.deps.DB.ClaimNotices(a.hard, rows)
			one.notices, one.to = nil, nil
			for i, n := range rows {
				if err == nil && mine[i] {
					one.repeat = one.repeat || n.Attempts > 0
					n.Attempts++
					one.notices, one.to = append(one.notices, n), append(one.to, to[i])
				}
			}
			return err
		})
		if !ok {
			return false
		}
		one.checked = time.Now()
		if len(one.notices) == 0 {
			continue
		}
		result, n, answer := a.try(ctx, a.outlet(ch.name, ch.typ), a.current(ch), one)
		if result == notMine {
			continue
		}
		if result == "" {
			return false
		}
		for i := range one.notices {
			r := &one.notices[i]
			r.Result, r.Answer, r.SendTS = result, answer, a.now()
			r.Attempts += n - 1
		}
		if !a.insist(a.hard, "write what became of messages", func() error { return a.deps.DB.SetNotices(a.hard, one.notices) }) {
			return false
		}
	}
	return true
}

// shortened returns the first n characters of a name.
func shortened(name string, n int) string {
	if r := []rune(name); len(r) > n {
		return string(r[:n])
	}
	return name
}
