package model

// ReachParam asks hbs whom a strategy would watch, and when, as if it were saved. It
// travels between our own daemons only, as JSON.
type ReachParam struct {
	Strategy int    `json:"strategy_id"` // the saved one whose place it takes; 0 for a new one
	Metric   string `json:"metric"`
	Tags     string `json:"tags"` // as written
	RunBegin string `json:"run_begin"`
	RunEnd   string `json:"run_end"`

	// Template is the one that it belongs to; 0 when Hosts and Groups, of which either
	// may be empty, say where it holds.
	Template int      `json:"tpl_id"`
	Hosts    []string `json:"hosts"`
	Groups   []int    `json:"groups"`
	// Any asks for an expression, which watches every endpoint but in maintenance.
	Any bool `json:"any"`

	// From and To are Unix seconds; To is not part of the range.
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// Reach says whom a rule would watch. Hosts that stand in no set are not watched, or,
// with Any, all the time.
type Reach struct {
	Any  bool       `json:"any"`
	Sets []ReachSet `json:"sets"`
	// Unknown are hosts of the question that no row knows.
	Unknown []string `json:"unknown"`
	// Until is when the changes of hours became too many to be followed: what held then
	// is taken to hold up to the end. 0: all were followed.
	Until int64 `json:"until"`
}

// ReachSet is hosts that are watched at the same times.
type ReachSet struct {
	Hosts []string   `json:"hosts"` // ascending
	Spans [][2]int64 `json:"spans"` // ascending, from and to, to not included; empty is never
}
