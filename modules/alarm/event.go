package alarm

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"falcon/common/model"
)

// MaxEvent bounds one event, in bytes of JSON.
const MaxEvent = 1 << 20

// Decode reads one element of an event list (contract alerting 1.10). The error says
// why it can not be told: it is too large, not JSON, has no id, not exactly one rule, a
// status that is neither PROBLEM nor OK, or a time that no row can hold.
func Decode(element []byte) (*model.Event, error) {
	if len(element) > MaxEvent {
		return nil, fmt.Errorf("event of %d bytes: at most %d", len(element), MaxEvent)
	}
	e := &model.Event{}
	if err := json.Unmarshal(element, e); err != nil {
		return nil, fmt.Errorf("decode event: %w", err)
	}
	switch {
	case e.Id == "":
		return nil, errors.New("event without an id")
	case e.Strategy == nil && e.Expression == nil:
		return nil, fmt.Errorf("event %q without a strategy or an expression", e.Id)
	case e.Strategy != nil && e.Expression != nil:
		return nil, fmt.Errorf("event %q with a strategy and an expression", e.Id)
	case e.Status != "PROBLEM" && e.Status != "OK":
		return nil, fmt.Errorf("event %q with status %q: PROBLEM or OK", e.Id, e.Status)
	case e.EventTime < 1 || e.EventTime > math.MaxInt32:
		return nil, fmt.Errorf("event %q of the time %d: from 1 to %d", e.Id, e.EventTime, math.MaxInt32)
	}
	return e, nil
}
