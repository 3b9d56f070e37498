package model

// An AdoptItem is what a judge is to know of a series that another judge had: the ring
// changed, or a judge is gone or back (contract alerting 1.12).
type AdoptItem struct {
	// Event is the last one of a rule on the series. A PROBLEM is taken over unless the
	// judge has an event of the rule that is as new; an OK ends an older problem, and is
	// told nobody.
	Event Event `json:"event"`
	// Acked says that somebody works on the problem, and AckedBy who.
	Acked   bool   `json:"acked"`
	AckedBy string `json:"acked_by,omitempty"`
	// Release says that another judge has the series now: what is known of the rule on it
	// is forgotten, and nobody is told.
	Release bool `json:"release,omitempty"`
}

// AdoptReply names the events that were taken over or released. The others are counted
// in Refused by reason: they are known already, or are no open problems.
type AdoptReply struct {
	Adopted []string       `json:"adopted"`
	Refused map[string]int `json:"refused"`
}

// Reasons for which a judge, or transfer before it, does not adopt.
const (
	AdoptKnown   = "known"   // the judge has this event, or a newer one
	AdoptNothing = "nothing" // there is no older problem that it could end, or nothing to release
	AdoptInvalid = "invalid" // it is no event of a plain rule on its series
	AdoptStock   = "stock"   // the judge is stock's and knows of no adopting
	AdoptAway    = "away"    // no address of the judge answers
	AdoptNobody  = "nobody"  // the transfer has no judges for it
)

// How a judge's ring node stands with a transfer.
const (
	NodeHome      = "home"      // it judges its series
	NodeLeaving   = "leaving"   // it is away, and others are about to
	NodeAway      = "away"      // others do
	NodeReturning = "returning" // it is back, and about to
)

// JudgeNode is a node of a ring of judges as a transfer sees it.
type JudgeNode struct {
	Kind  string `json:"kind"` // judge or string_judge
	Node  string `json:"node"`
	State string `json:"state"`
	Since int64  `json:"since"` // not home: since when it is away, Unix seconds
}

// JudgesReply answers Transfer.Judges.
type JudgesReply struct {
	// View is equal for transfers that send each series to the same judges.
	View  string      `json:"view"`
	Nodes []JudgeNode `json:"nodes"`
}

// ForwardRequest is the argument of Transfer.Adopt: items that go on to the judges of their
// series by the ring, as it is with the failovers that are under way.
type ForwardRequest struct {
	Items []AdoptItem `json:"items"` // MaxForward at most
	// Release tells the other judges, once one has taken an item, that the series is not
	// theirs.
	Release bool `json:"release"`
	// Told names nodes, kind/node, whose judges have been told everything: a failover, or
	// the way back, need not wait longer.
	Told []string `json:"told"`
}

// MaxForward bounds a ForwardRequest.
const MaxForward = 1000

// ForwardReply says what became of the items.
type ForwardReply struct {
	Adopted  int            `json:"adopted"`
	Released int            `json:"released"`
	Refused  map[string]int `json:"refused"` // by reason
	// Failed says of nodes why their judges did not answer; their items are in Refused.
	Failed map[string]string `json:"failed"`
}
