// Package alarm is the daemon that writes down what judge raises and tells people.
//
//	judge ── LPUSH event:p0 … p9 ──> the dealer ──> {alarm:part:0..15}:p0 … p9 ──> workers
//	workers ── rows: event_cases, events, alarm_notice ──> outlets ──> people
//
// Any number of alarms run side by side. One of them, by a lock, deals the events out
// into sixteen parts by their ids; the parts are shared among the living, and who holds
// the lock of a part works its events by priority, so that those of one id stay in
// order. An event stands in a list of its own in Redis until all of its messages are
// told; when an alarm dies, the next owner of the part takes that list over.
//
// Nobody is told twice: each message has a row in alarm_notice, unique by event, step,
// action, receiver and channel, in which a sender claims it before it is sent. A message
// that was with a provider when alarm was killed is the one exception: it is sent again
// and says so, "(possible repeat)".
//
//	deal.go    the lists of judge, into parts; what can not be read goes to alarm:dead
//	parts.go   who works which part
//	work.go    rows, and whom an event is for
//	gate.go    what is disabled now, so that nobody is told
//	route.go   which messages that makes, and why none
//	acked.go   links by which people acknowledge, and who did
//	adopt.go   judges are told what other judges knew
//	send.go    outlets: claim, three tries, result
//	owed.go    people are told while the database is away, and rows are written later
//	deadman.go a URL that is called while the whole road is good
//	callback.go, channels.go, people.go, housekeeping.go, http.go
//
// Ports: HTTP 9912.
//
// What is lost when it dies: nothing. When Redis loses its memory: the events in it,
// which judge pushes again (those of open problems, and of the last minute). While the
// database is away people are told all the same, after Config.DB.Patience, and the rows are
// kept in Redis until it is back; while nobody can say whom an action tells, the rows are
// written and the messages wait for an hour.
//
// A provider that takes nothing holds up no other channel: its messages wait, 5000 of
// them at most, and are tried three times each; what comes beyond fails with the reason
// in its row.
//
// Not there yet: merging, escalation, blocking, whitelists, the owners of
// hosts, phone calls and robots; all of them pass through route.go.
package alarm
