package alarm

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"falcon/common/model"
)

// composeChain makes the texts of an event of several conditions (contract alerting 4.7):
// how many there are, the metrics of all of them, and each condition with its value.
// Otherwise they read as those of any event, and the endpoint stands where it stands there.
func composeChain(e *model.Event, dashboard string, loc *time.Location) Message {
	at := time.Unix(e.EventTime, 0).In(loc).Format(time.DateTime)
	all := conditions(e)
	var metrics, notes, short, lines []string
	for _, c := range all {
		metrics = append(metrics, c.Metric())
		if n := c.Note(); n != "" && !slices.Contains(notes, n) {
			notes = append(notes, n)
		}
		brief, whole := condition(c)
		short = append(short, fmt.Sprintf("%s %s %s", c.Func(), c.Counter(), brief))
		lines = append(lines, fmt.Sprintf("%s %s: %s\r\n", c.Counter(), c.Func(), whole))
	}
	note := strings.Join(notes, "; ")
	return Message{
		Short: fmt.Sprintf("[P%d][%s][%s][%d conditions][%s %s][O%d %s]", e.Priority(), e.Status, e.Endpoint, len(all),
			note, strings.Join(short, ", "), e.CurrentStep, at),
		Body: fmt.Sprintf("%s\r\nP%d\r\nEndpoint:%s\r\nConditions:%d\r\nMetric:%s\r\n%sNote:%s\r\nMax:%d, Current:%d\r\nTimestamp:%s\r\n%s\r\n",
			e.Status, e.Priority(), e.Endpoint, len(all), strings.Join(metrics, ","), strings.Join(lines, ""),
			note, e.MaxStep(), e.CurrentStep, at, link(e, dashboard)),
	}
}

// conditions returns the event itself and the others of its chain.
func conditions(e *model.Event) []*model.Event {
	return append([]*model.Event{e}, slices.DeleteFunc(slices.Clone(e.EventChain), func(o *model.Event) bool { return o == nil })...)
}
