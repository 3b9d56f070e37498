package model

const (
	// maxNameBytes bounds metric and tags as pushed, together (contract ingest 1.3).
	maxNameBytes = 510
	// maxStep is a year: more is a slip of the pen, and would overflow what follows.
	maxStep = 366 * 86400
	// MaxText is the longest value of a series of texts, in bytes (contract alerting 5.2).
	MaxText = 1024
)

// CheckName returns why points of an item that is named so are refused, or "" (contract
// ingest 1.3, in its order; value and time are not part of it).
func CheckName(endpoint, metric, tags, typ string, step int64) (reason string) {
	switch {
	case metric == "kernel.hostname":
		return ReasonReserved
	case metric == "" || endpoint == "":
		return ReasonNoName
	case !KnownType(typ):
		return ReasonType
	case step <= 0 || step > maxStep:
		return ReasonStep
	case len(metric)+len(tags) > maxNameBytes:
		return ReasonTooLong
	}
	return ""
}

// Why says a reason for which an item is refused at its first hop in words, for
// whoever pushed it; "" for other reasons.
func Why(reason string) string {
	return map[string]string{
		ReasonNull:     "the item is null",
		ReasonReserved: "kernel.hostname is a metric of agents of long ago",
		ReasonNoName:   "endpoint or metric is empty",
		ReasonType:     "counterType is not GAUGE, COUNTER or DERIVE",
		ReasonNoValue:  "the value is empty",
		ReasonValue:    "the value is neither a finite number nor a text",
		ReasonStep:     "the step is not between 1 second and a year",
		ReasonTooLong:  "metric and tags together are longer than 510 bytes, or a text is longer than 1024",
	}[reason]
}
