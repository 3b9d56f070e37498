package alarm

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

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
	short, long := condition(e)
	at := time.Unix(e.EventTime, 0).In(loc).Format(time.DateTime)
	tags := model.SortedTags(e.PushedTags)
	return Message{
		Short: fmt.Sprintf("[P%d][%s][%s][][%s %s %s %s %s][O%d %s]", e.Priority(), e.Status, e.Endpoint,
			e.Note(), e.Func(), e.Metric(), tags, short, e.CurrentStep, at),
		Body: fmt.Sprintf("%s\r\nP%d\r\nEndpoint:%s\r\nMetric:%s\r\nTags:%s\r\n%s: %s\r\nNote:%s\r\nMax:%d, Current:%d\r\nTimestamp:%s\r\n%s\r\n",
			e.Status, e.Priority(), e.Endpoint, e.Metric(), tags, e.Func(), long,
			e.Note(), e.MaxStep(), e.CurrentStep, at, link(e, dashboard)),
	}
}

// maxShown is how many characters of a text a short message has.
const maxShown = 100

// condition says what the rule made of the values and what it compares that with: once
// for a line that should be short, once whole.
func condition(e *model.Event) (short, long string) {
	if !e.Texts() {
		s := readable(e.LeftValue) + e.Operator() + readable(e.RightValue())
		return s, s
	}
	left, right := oneLine(e.LeftString), oneLine(e.RightString)
	if right == "" && strings.HasPrefix(e.Func(), "diff(") { // which compares the values with each other
		return cut(left), left
	}
	op := " " + e.Operator() + " "
	return cut(left) + op + cut(right), left + op + right
}

// oneLine puts blanks in the place of line ends and whatever else moves a cursor.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// cut shortens a text for a short message.
func cut(s string) string {
	if r := []rune(s); len(r) > maxShown {
		return string(r[:maxShown-1]) + "…"
	}
	return s
}

// leftOf returns what the rule made of the values, a number or a text.
func leftOf(e *model.Event) string {
	if e.Texts() {
		return e.LeftString
	}
	return readable(e.LeftValue)
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
