package model

// A Problem is an open problem as its judge knows it now, beside what its event said.
// Times are Unix seconds.
type Problem struct {
	ID       string            `json:"id"` // of its event
	Endpoint string            `json:"endpoint"`
	Metric   string            `json:"metric"`
	Tags     map[string]string `json:"tags"`
	// LastPoint is when the judge took a point of the series last; 0 when it does not keep
	// the series.
	LastPoint int64 `json:"last_point"`
	// Stopped says that the series is silent: nothing but time will end its problem, which
	// is then closed at ClosesAt, 0 when that is not known.
	Stopped  bool  `json:"stopped"`
	ClosesAt int64 `json:"closes_at"`
	// Gone says that the host has no rules and is not in maintenance.
	Gone bool `json:"host_gone"`
	// AckedBy and AckedAt say who works on the problem, and since when.
	Acked   bool   `json:"acked"`
	AckedBy string `json:"acked_by"`
	AckedAt int64  `json:"acked_at"`
}

// ProblemsRequest asks Judge.Problems for one open problem, or for all with an empty id.
type ProblemsRequest struct {
	ID string `json:"id"`
}

// ProblemsReply answers it, oldest first.
type ProblemsReply struct {
	Problems []Problem `json:"problems"`
}

// A Combination is how the conditions of a combined rule stand on one host, as its
// plus_judge knows it. Times are Unix seconds.
type Combination struct {
	Serial   string `json:"serial"`
	Endpoint string `json:"endpoint"`
	Action   int    `json:"action"`
	Status   string `json:"status"`
	Step     int    `json:"step"` // of the last message
	// Since is when the last message was told, 0 for never.
	Since int64  `json:"since"`
	Event string `json:"event,omitempty"` // id of the last message
	// AckedBy and AckedAt say who works on it, and since when.
	Acked   bool   `json:"acked,omitempty"`
	AckedBy string `json:"acked_by,omitempty"`
	AckedAt int64  `json:"acked_at,omitempty"`
	// Count conditions have to hold, and Holds of them do.
	Count   int         `json:"count"`
	Holds   int         `json:"holds"`
	Members []Condition `json:"members"`
	// Unheard is how many conditions were never heard of: nothing of them holds.
	Unheard int   `json:"unheard"`
	Heard   int64 `json:"heard"` // when any condition was last heard of
}

// A Condition is how one condition of a Combination stands.
type Condition struct {
	Strategy int    `json:"strategy_id"`
	Metric   string `json:"metric"`
	Rule     string `json:"rule"` // all(#3) < 5
	Holds    bool   `json:"holds"`
	// Waits says that it held before a restart of plus_judge and was not heard of since.
	Waits bool `json:"waits,omitempty"`
	// Since is since when it holds or does not.
	Since  int64             `json:"since"`
	Series []ConditionSeries `json:"series"`
}

// A ConditionSeries is the last event of a Condition on a series.
type ConditionSeries struct {
	Counter string  `json:"counter"`
	Status  string  `json:"status"`
	Value   float64 `json:"value"`
	Time    int64   `json:"time"`
	Heard   int64   `json:"heard"`
	// Silent says that it is a problem of which nothing was heard for too long.
	Silent bool `json:"silent,omitempty"`
}

// CombinationsRequest asks PlusJudge.Combinations for those that have what is not empty.
type CombinationsRequest struct {
	Endpoint string `json:"endpoint"`
	Serial   string `json:"serial"`
	Event    string `json:"event"`
	// Problems asks only for those that are a problem.
	Problems bool `json:"problems"`
	Limit    int  `json:"limit"` // 0 and more than 1000 are 1000
}

// CombinationsReply has the first of them, by endpoint and serial, and how many there are.
type CombinationsReply struct {
	Total        int           `json:"total"`
	Combinations []Combination `json:"combinations"`
}
