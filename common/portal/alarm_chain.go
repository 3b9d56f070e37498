package portal

import (
	"strings"

	"falcon/common/model"
)

// noteOf is the note of an event as its case shows it. A case has room for one condition:
// of an event of several the others stand behind the note, with their values.
func noteOf(e *model.Event) string {
	others := make([]string, 0, len(e.EventChain))
	for _, o := range e.EventChain {
		if o != nil {
			others = append(others, o.Counter()+" "+o.Func()+" "+Cond(o))
		}
	}
	if len(others) == 0 {
		return e.Note()
	}
	return strings.TrimSpace(e.Note() + " (with " + strings.Join(others, ", ") + ")")
}
