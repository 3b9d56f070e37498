package alarm

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"falcon/common/model"
)

// Message is what people are told of one event.
type Message struct {
	Short string // SMS and IM, and the subject of a mail
	Body  string // of a mail; lines end with CR LF
}

// Compose makes the texts of e as stock does (contract alerting 4.7). dashboard is
// the address that the mail's link begins with; times are shown in loc. An event of
// several conditions names each of them, which stock does not know.
func Compose(e *model.Event, dashboard string, loc *time.Location) Message {
	if len(e.EventChain) > 0 {
		return composeChain(e, dashboard, loc)
	}
	left, right := readable(e.LeftValue), readable(e.RightValue())
	at := time.Unix(e.EventTime, 0).In(loc).Format(time.DateTime)
	tags := model.SortedTags(e.PushedTags)
	return Message{
		Short: fmt.Sprintf("[P%d][%s][%s][][%s %s %s %s %s%s%s][O%d %s]", e.Priority(), e.Status, e.Endpoint,
			e.Note(), e.Func(), e.Metric(), tags, left, e.Operator(), right, e.CurrentStep, at),
		Body: fmt.Sprintf("%s\r\nP%d\r\nEndpoint:%s\r\nMetric:%s\r\nTags:%s\r\n%s: %s%s%s\r\nNote:%s\r\nMax:%d, Current:%d\r\nTimestamp:%s\r\n%s\r\n",
			e.Status, e.Priority(), e.Endpoint, e.Metric(), tags, e.Func(), left, e.Operator(), right,
			e.Note(), e.MaxStep(), e.CurrentStep, at, link(e, dashboard)),
	}
}

// link leads to the rule; it is empty for a rule that has no page.
func link(e *model.Event, dashboard string) string {
	if t := e.Tpl(); t != nil && t.Id != 0 {
		return fmt.Sprintf("%s/portal/template/view/%d", dashboard, t.Id)
	}
	if id := e.ExpressionId(); id != 0 {
		return fmt.Sprintf("%s/portal/expression/view/%d", dashboard, id)
	}
	return ""
}

// readable writes a number with at most five decimals and no zeros at its end.
func readable(v float64) string {
	return strings.TrimRight(strings.TrimRight(strconv.FormatFloat(v, 'f', 5, 64), "0"), ".")
}
