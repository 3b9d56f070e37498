package verdict

import (
	"math"
	"strconv"

	"falcon/common/model"
)

// StrategyID names the event of a strategy on a series; checksum is that of its PK.
func StrategyID(strategy int, checksum string) string {
	return "s_" + strconv.Itoa(strategy) + "_" + checksum
}

// ExpressionID names the event of an expression on a series.
func ExpressionID(expression int, checksum string) string {
	return "e_" + strconv.Itoa(expression) + "_" + checksum
}

// Left returns a value as events have it: one that JSON can not say is clamped.
func Left(left float64) float64 {
	switch {
	case math.IsNaN(left):
		return 0
	case math.IsInf(left, 0):
		return math.Copysign(math.MaxFloat64, left)
	}
	return left
}

// Event writes what is to be told of a series: s is the state that Next returned, left
// what the function made of its values. The caller sets Strategy or Expression. A
// left that JSON can not say is clamped (contract alerting 1.10).
func Event(id, endpoint string, tags map[string]string, s State, left float64) *model.Event {
	e := &model.Event{
		Id: id, Status: model.StatusOK, Endpoint: endpoint, LeftValue: Left(left), CurrentStep: s.Step, EventTime: s.EventTime, PushedTags: tags,
	}
	if s.Status == Problem {
		e.Status = model.StatusProblem
	}
	return e
}
