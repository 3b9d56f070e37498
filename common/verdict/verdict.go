package verdict

// A State is what is remembered of one rule on one series: its last event. The zero
// State has had none.
type State struct {
	Status    Status
	Step      int   // of the last event, 1 and up
	EventTime int64 // Unix seconds, of the newest point of the last event
	Acked     bool  // somebody works on it: nothing more is told until it is over
}

// Status is that of the last event.
type Status uint8

// OK is also the status of a series that never had an event.
const (
	OK Status = iota
	Problem
)

// Emit says what has to be told.
type Emit uint8

// What a point may lead to.
const (
	Nothing Emit = iota
	TellProblem
	TellOK
)

// A Rule is what the state machine needs to know of a strategy or expression.
type Rule struct {
	MaxStep     int   // how often one problem is told; 0: never
	MinInterval int64 // seconds between two events of a problem
}

// A Seen is what the rule's function made of the newest points.
type Seen struct {
	Triggered bool
	Newest    int64 // time of the newest point that was used, Unix seconds
	Oldest    int64 // time of the oldest one
	Now       int64 // the clock, Unix seconds
}

// Next returns the state after a look, and what is to be told. When something is, the
// new State describes that event.
func Next(s State, r Rule, seen Seen) (State, Emit) {
	switch {
	case !seen.Triggered && s.Status == Problem:
		return State{Status: OK, Step: 1, EventTime: seen.Newest}, TellOK
	case !seen.Triggered:
		return s, Nothing
	case s.Status == OK && r.MaxStep == 0:
		return s, Nothing
	case s.Status == OK:
		return State{Status: Problem, Step: 1, EventTime: seen.Newest}, TellProblem
	case s.Acked:
		return s, Nothing
	case s.Step >= r.MaxStep:
		return s, Nothing
	case seen.Oldest <= s.EventTime: // a point is not told twice
		return s, Nothing
	case seen.Now-s.EventTime < r.MinInterval:
		return s, Nothing
	}
	return State{Status: Problem, Step: s.Step + 1, EventTime: seen.Newest}, TellProblem
}
