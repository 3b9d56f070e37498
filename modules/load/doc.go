// Package load makes points, sends them as fast as told, and looks whether they arrived.
//
//	Series ─ Value(series, slot) ─┬─ link: stream, JSON-RPC, gob, msgpack, HTTP ─> transfer
//	                              │        └─ ack ─> ledger, a bit a point
//	                              └─ verify: what the graphs answer, for each acknowledged point
//
// A value is a function of its series and its time, so nothing but the bits of the ledger
// is kept, and two runs with the same prefix send the same values: a second one over the
// same time finds its points there.
//
// Timestamps advance by one step a round. With a speed above one, or without a pause,
// they begin in the past and end now: daemons refuse the future.
//
// What is lost when it dies: its ledger, and nothing of the fleet's.
package load
