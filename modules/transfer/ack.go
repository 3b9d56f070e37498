package transfer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"falcon/common/conf"
	"falcon/common/daemon"
	"falcon/common/httpx"
	"falcon/common/model"
	"falcon/common/rpc"
)

// Ack is the page by which people acknowledge a problem, from a link in a message.
type Ack struct {
	// Secret signs the links: alarm has the same. Without one the page is off.
	Secret conf.Secret `json:"secret"`
	// PlusJudges are the addresses of all that judge rules of several conditions.
	PlusJudges []string `json:"plus_judges"`
	// Alarms are the pages of alarms, http://host:9912, the first that answers is told: it
	// shows on its case who works on a problem. Without any only judges know.
	Alarms []string `json:"alarms"`
}

// on says whether links are taken.
func (a *Ack) on() bool { return a.Secret != "" && a.Secret.Reveal() != model.SampleSecret }

func (a *Ack) validate() error {
	var errs []error
	for _, addr := range a.Alarms {
		if u, err := url.Parse(addr); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			errs = append(errs, fmt.Errorf("ack.alarms: %q is none that can be called, write http://host:9912", addr))
		}
	}
	return errors.Join(errs...)
}

// ackTimeout bounds the call of a judge while a person waits.
const ackTimeout = 5 * time.Second

// ack is /ack: GET shows a page and does nothing, since mail programs look at links; POST
// acknowledges, DELETE takes it back. The link is signed (model.AckLink).
func (t *Transfer) ack(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'")
	if t.judge == nil || !t.cfg.Ack.on() {
		http.Error(w, "links are not taken here: this transfer has no judges, or no ack.secret of its own", http.StatusNotFound)
		return
	}
	link, ok := model.ParseAckLink(r.URL.Query(), t.cfg.Ack.Secret.Reveal(), t.now())
	if !ok {
		http.Error(w, "the link is not valid, or expired: open the alarm on the page", http.StatusForbidden)
		return
	}
	page := ackView{AckLink: link, Expiry: time.Unix(link.Expires, 0).Format(time.DateTime)}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		page.Ask = true
		page.show(w, http.StatusOK)
		return
	}
	undo := r.Method == http.MethodDelete
	reply, err := t.acknowledge(r.Context(), link, undo)
	if err != nil {
		reply = &model.AckReply{}
	}
	// An alarm that knows keeps back what a judge that is away tells later.
	unseen := t.report(r.Context(), link, undo, reply)
	switch {
	case err != nil && reply.Matched == 0:
		t.log.Warn("an acknowledgement did not reach its judge", "endpoint", link.Endpoint, "metric", link.Metric, "event", link.EventID, "err", err)
		page.Said = "It could not be acknowledged: the judge of this alarm does not answer. Try again in a minute."
		if !wantsJSON(r) {
			page.show(w, http.StatusBadGateway)
			return
		}
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	case wantsJSON(r):
		daemon.WriteJSON(w, reply)
		return
	case unseen != nil && reply.Matched > 0:
		page.Said = "The judge knows, and alarm, which shows it to others, does not answer. Try again in a minute so that they see it."
	case unseen != nil:
		page.Said = "The judge knows of no such problem, and alarm does not answer. Try again in a minute."
	case reply.Matched == 0:
		page.Said = "There is nothing to acknowledge: the problem is over, or its rule is gone."
	case undo:
		page.Said = "It is told again."
	default:
		page.Said = "Acknowledged: nothing more is told of it until it is over."
	}
	page.show(w, http.StatusOK)
}

// report tells an alarm what a judge was told, and counts cases of which no judge knows: a
// judge that lost the mark, or that is stock's, tells more, which alarm then keeps back.
func (t *Transfer) report(ctx context.Context, l model.AckLink, undo bool, reply *model.AckReply) error {
	if len(t.cfg.Ack.Alarms) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	body, err := json.Marshal(model.AckReport{ID: l.EventID, Endpoint: l.Endpoint, Metric: l.Metric, Tags: model.ParseTags(l.Tags), User: l.User, At: t.now().Unix()})
	if err != nil {
		return err
	}
	method := http.MethodPost
	if undo {
		method = http.MethodDelete
	}
	var errs []error
	for _, alarm := range t.cfg.Ack.Alarms {
		var said model.AckReported
		answer, err := t.reporter.Do(ctx, method, strings.TrimSuffix(alarm, "/")+"/acked", body)
		if err = cmp.Or(err, json.Unmarshal(answer, &said)); err != nil {
			errs = append(errs, err)
			continue
		}
		reply.Matched = max(reply.Matched, said.Matched)
		return nil
	}
	err = errors.Join(errs...)
	t.log.Warn("an acknowledgement did not reach an alarm: its case does not show it", "endpoint", l.Endpoint, "metric", l.Metric, "event", l.EventID, "err", err)
	return err
}

// newReporter returns the client that tells alarms.
func (c *Config) newReporter() *httpx.Client {
	o := httpx.Options{Tries: 1, Timeout: ackTimeout, MaxBody: 64 << 10, Header: http.Header{}}
	if key := c.FleetKey.Reveal(); key != "" {
		o.Header.Set(model.FleetKeyHeader, key)
	}
	return httpx.NewClient(o)
}

func wantsJSON(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "application/json")
}

// acknowledge calls the judge that has the series by the ring, or, for an alarm of several
// conditions, every plus_judge, of which one has it. Of several addresses each is called;
// one that takes it is enough.
func (t *Transfer) acknowledge(ctx context.Context, l model.AckLink, undo bool) (*model.AckReply, error) {
	tags, ok := model.ParseTagsStrict(l.Tags)
	if !ok {
		return nil, fmt.Errorf("tags %q are none", l.Tags)
	}
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	req := model.AckRequest{EventId: l.EventID, Endpoint: l.Endpoint, Metric: l.Metric, Tags: tags, User: l.User, At: t.now().Unix(), Undo: undo}
	type asked struct {
		*Peers
		kind  string
		addrs []string
	}
	var all []asked
	if strings.HasPrefix(l.EventID, "m_") {
		if len(t.cfg.Ack.PlusJudges) == 0 {
			return nil, errors.New("an alarm of several conditions: ack.plus_judges of this transfer names nobody who judges these")
		}
		all = append(all, asked{&t.cfg.Judge, "judge", t.cfg.Ack.PlusJudges})
	} else {
		for _, judges := range []struct {
			c *cluster
			p *Peers
		}{{t.judge, &t.cfg.Judge}, {t.stringJudge, &t.cfg.StringJudge}} {
			if judges.c != nil {
				var addrs []string
				for _, node := range judges.c.failover.judges(judges.c.ring, model.PK(l.Endpoint, l.Metric, model.SortedTags(tags))) {
					addrs = append(addrs, strings.Split(judges.p.Cluster[node], ",")...)
				}
				all = append(all, asked{judges.p, judges.c.kind, addrs})
			}
		}
	}
	var best *model.AckReply
	var errs []error
	for _, judges := range all {
		secure, err := judges.TLS.Config(judges.kind)
		if err != nil {
			return nil, err
		}
		for _, addr := range judges.addrs {
			c := rpc.NewClient(rpc.ClientOptions{
				Addr: strings.TrimSpace(addr), StockCodec: rpc.Gob, Key: t.cfg.FleetKey.Reveal(), Log: t.log,
				DialTimeout: judges.ConnTimeout.D(), TLS: secure, Dial: t.deps.Dial,
			})
			var reply model.AckReply
			err := c.Call(ctx, "Judge.Ack", &req, &reply)
			c.Close()
			switch {
			case err != nil:
				errs = append(errs, err)
			case best == nil || reply.Matched > best.Matched:
				best = &reply
			}
		}
	}
	if best == nil || best.Matched == 0 && len(errs) > 0 {
		return nil, errors.Join(errs...) // whoever has it may be the one that does not answer
	}
	return best, nil
}

// ackView is what the page shows.
type ackView struct {
	model.AckLink
	Expiry string
	Ask    bool
	Said   string
}

func (v ackView) show(w http.ResponseWriter, code int) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_ = ackTemplate.Execute(w, v) // a reader that left is no failure
}

var ackTemplate = template.Must(template.New("ack").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Acknowledge an alarm</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:2em auto;padding:0 1em}button{font:inherit;padding:.5em 1.5em}dt{opacity:.7}dd{margin:0 0 .5em}</style>
<h1>{{.Endpoint}}</h1>
<dl><dt>metric</dt><dd>{{.Metric}}{{if .Tags}} / {{.Tags}}{{end}}</dd>{{if .EventID}}<dt>alarm</dt><dd>{{.EventID}}</dd>{{end}}{{if .User}}<dt>for</dt><dd>{{.User}}</dd>{{end}}</dl>
{{if .Ask}}<form method="post"><p>Nothing more is told of this alarm until it is over.</p><button>Acknowledge</button></form><p><small>The link is good until {{.Expiry}}.</small></p>{{else}}<p role="status">{{.Said}}</p>{{end}}
</html>
`))
