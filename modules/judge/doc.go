// Package judge looks at points with the rules of the fleet and tells when a condition
// begins and when it is over (contract alerting 1).
//
//	transfer --stream, Judge.Send--> table of series --> core --> journal --> Redis event:pN
//	hbs --rule book--> index -------------^
//
// A rule that is one of several conditions is told to nobody: union.go sends its begin,
// its end and a refresh each minute to a plus_judge (union_judge_s), on whose ring the
// combination and the host have their place. What is lost on the way a judge says again
// when it starts, and the next refresh.
//
// It listens on 6080 (RPC: Judge.Ping, Judge.Send, StringJudge.Send, streams of
// transfers, Judge.Events, Judge.Problems, and with the fleet key Judge.Ack and
// Judge.Adopt) and 6081 (HTTP: /health, /count, /strategy, /expression, /history,
// /events, /ack, /filter, /counter/all). Rules come from an hbs and stay on disk. A judge holds the rules of the
// whole fleet, so it decides at once which series somebody watches; the others it mutes
// at the sender, and keeps nothing of them. A series has numbers or texts for its values,
// and rules of its kind (text.go); one of each may share a name.
//
// Points of watched series, and events, are in the journal before a batch is
// acknowledged; an event leaves the outbox when Redis has it. A judge that is killed
// loses nothing that it acknowledged; a power failure may take the last second. While
// Redis is away events wait, in order. Without any rule book points wait in their
// histories, /health says so, and they are judged when the book comes. While the disk
// takes nothing judge goes on telling and acknowledges nothing.
package judge
