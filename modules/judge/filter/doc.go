// Package filter decides which rules watch a series, and whether any does: four fifths
// of what a fleet pushes is watched by none, and a judge should not keep it.
//
// # The classic road
//
// A stock judge keeps every series whose metric occurs in any rule of any host. Larger
// users put a filter before the history: a map from endpoint/metric to FILTER or INUSE.
//
//	point ─> matches an expression? ──yes──────────────────────────> keep
//	           │ no
//	           ├─ INUSE ───────────────────────────────────────────> keep
//	           ├─ FILTER ──────────────────────────────────────────> drop
//	           └─ not in the map: FILTER for now, ask hbs ─ INUSE ─> keep
//
// The map is filled by two questions, both HbsNew.GetFilteredStrategies. Incremental
// sync asks for the keys of a batch that are new, from within the push, for five seconds
// at most; its answer is merged. Full sync asks each interval for all keys, for five
// minutes at most; its answer replaces the rules, and so notices those that were deleted.
//
// That keeps four fifths out, and has faults by construction. A key has no tags, so
// series are kept that no rule can match. Two new series of one key in a batch: the second
// is dropped. The push waits for hbs, and its sender gives up and repeats it. A question
// that fails leaves FILTER behind, and nothing is judged until the next full sync; so does
// a rule that is made for a key that was FILTER. A deleted rule leaves INUSE behind. The
// map knows no end: keys of dead hosts stay. And a fleet of judges that starts asks hbs
// millions of questions at once.
//
// # This one
//
// A judge holds the rule book of the whole fleet, which costs a few megabytes since hosts
// share sets (decision 7). So it decides at once and by itself, for the series with its
// tags: an Index leads from a host to the rules of its set by metric, and from a metric to
// expressions. Nothing is unknown, nothing is asked, no answer can fail or be late. A new
// book makes a new Index; who remembers a decision remembers the generation that it came
// from, and decides again when that is another one.
//
// Against an hbs that has no book, judge/rules goes the classic road beside the points,
// and makes books of the answers: what was not asked for yet is unknown there, its points
// wait, and no answer is taken for "no rules" that may be an hbs in trouble.
package filter
