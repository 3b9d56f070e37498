// Package judge looks at points with the rules of the fleet and tells when a condition
// begins and when it is over (contract alerting 1).
//
// It listens on 6080 (RPC: Judge.Ping, Judge.Send, streams of transfers) and 6081
// (HTTP: /health, /count, /events, /counter/all). Rules come from an hbs and stay on
// disk; points of watched series and events are in a journal before a batch is
// acknowledged, and an event leaves the journal's outbox when Redis has it.
//
// A judge that is killed loses nothing that it acknowledged; a power failure may take
// the last second. While Redis is away events wait, in order. Without any rule book
// points wait in their histories, /health says so, and they count for the first
// verdict after the book has come.
//
// Not there yet: mutes on streams, stock's pages /strategy, /expression and /history,
// a bounded table for the series of stock peers, and forgetting series that are gone.
package judge
