package stream

// Kinds of streams: what the points on them are for.
const (
	KindPoints = "points" // to transfer, as agents send: raw times
	KindGraph  = "graph"  // to graph: times aligned to the step
	KindJudge  = "judge"  // to judge: as to graph
)
