package model

// The structs of this file travel between our own daemons only, always as
// msgpack.

// A Series is a series as it is defined on a stream: once per connection, before
// its first point.
type Series struct {
	Endpoint  string
	Metric    string
	Tags      string  // sorted, k=v,k=v
	Type      string  // as pushed: GAUGE, COUNTER or DERIVE
	Step      int     // seconds
	Heartbeat int     // seconds; 0 means 2 x Step
	Min       float64 // NaN for none
	Max       float64 // NaN for none
	Text      bool    // values are strings
}

// PK returns the series' name in the whole fleet.
func (s *Series) PK() string { return PK(s.Endpoint, s.Metric, s.Tags) }

// Counter returns the series' name on its endpoint.
func (s *Series) Counter() string { return CounterOf(s.Metric, s.Tags) }

// A Refusal says that n points were not taken, and why. Reason is one of the
// Reason constants or free text of a newer peer.
type Refusal struct {
	Ref    uint32
	Reason string
	N      int
}

// Reasons for which a point is refused or dropped; they are also the values of
// the label reason in the counters of every daemon.
const (
	ReasonNull      = "null"         // the item is null
	ReasonReserved  = "reserved"     // the metric kernel.hostname of old agents
	ReasonNoName    = "no_name"      // metric or endpoint is empty
	ReasonType      = "bad_type"     // the type is not GAUGE, COUNTER or DERIVE
	ReasonNoValue   = "no_value"     // the value is the empty string
	ReasonValue     = "bad_value"    // the value is no number, NaN or infinite
	ReasonStep      = "bad_step"     // the step is not positive
	ReasonTooLong   = "too_long"     // metric and tags are longer than 510 bytes, or a text than 1024
	ReasonCharacter = "bad_char"     // endpoint or counter holds a character that graph refuses
	ReasonTimestamp = "bad_time"     // the timestamp is out of range
	ReasonBlacklist = "blacklisted"  // the endpoint or metric is on the blacklist
	ReasonLate      = "late"         // older than what is kept
	ReasonDuplicate = "duplicate"    // the series already has a value at that time
	ReasonFuture    = "future"       // too far ahead of the clock
	ReasonBusy      = "busy"         // a queue or spool is full
	ReasonLimit     = "series_limit" // no room for another series
	ReasonStale     = "stale"        // spooled for so long that a verdict helps nobody
	ReasonUnknown   = "unknown_ref"  // the ref was not defined on this connection
	ReasonReadOnly  = "read_only"    // the disk does not take writes
)

// GraphQueryBatchParam asks for several series at once. Every query is answered
// in its place. Raw asks for the values as they were received, of a counter too, and
// without filled gaps: what a judge saw.
type GraphQueryBatchParam struct {
	Queries []*GraphQueryParam `json:"queries"`
	Raw     bool               `json:"raw,omitempty"`
}

// GraphQueryBatchResp holds the answers in the order of the queries. Raw says that they
// are received values; an older graph does not know the question.
type GraphQueryBatchResp struct {
	Answers []*GraphQueryResponse `json:"answers"`
	Raw     bool                  `json:"raw,omitempty"`
}

// GraphLastBatchParam asks for the newest points of several series. Raw asks for
// received values instead of rates.
type GraphLastBatchParam struct {
	Series []*GraphLastParam `json:"series"`
	Raw    bool              `json:"raw"`
}

// GraphLastBatchResp holds the answers in the order of the question.
type GraphLastBatchResp struct {
	Answers []*GraphLastResp `json:"answers"`
}

// GraphSearchParam asks one graph node what it holds. With Endpoints empty it
// searches endpoints, else the counters of exactly these endpoints.
type GraphSearchParam struct {
	// Match holds space-separated regular expressions, without regard to case,
	// that a name must all match; one that begins with "!" must not match. For
	// endpoints it is matched against the endpoint, for counters against the
	// counter. Empty matches everything.
	Match string `json:"match"`
	// Tags, for endpoints only, are substrings that must each occur in some
	// counter of the endpoint.
	Tags []string `json:"tags"`
	// Endpoints selects whose counters are wanted.
	Endpoints []string `json:"endpoints"`
	// Since leaves out what has not reported since this Unix time.
	Since int64 `json:"since"`
	// Limit bounds the answer; 0 means 500. Names are in ascending order.
	Limit int `json:"limit"`
	// After continues behind this name: an endpoint, or endpoint NUL counter.
	After string `json:"after"`
}

// GraphSearchResp is one node's part of a search.
type GraphSearchResp struct {
	Endpoints []GraphEndpoint `json:"endpoints"`
	Counters  []GraphCounter  `json:"counters"`
	// Total counts the matches on this node, beyond Limit as well.
	Total int `json:"total"`
}

// GraphEndpoint is an endpoint that a search found.
type GraphEndpoint struct {
	Endpoint string `json:"endpoint"`
	Last     int64  `json:"last"`     // Unix time of its newest point
	Counters int    `json:"counters"` // how many series it has on this node
}

// GraphCounter is a series that a search found.
type GraphCounter struct {
	Endpoint string `json:"endpoint"`
	Counter  string `json:"counter"`
	Type     string `json:"type"` // as stored
	Step     int    `json:"step"`
	Last     int64  `json:"last"` // Unix time of its newest point
}
