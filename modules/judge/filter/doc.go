// Package filter decides which rules watch a series, and whether any does: four fifths
// of what a fleet pushes is watched by none, and a judge should not keep it.
//
// The classic roads are two. A stock judge keeps every series whose metric occurs in
// any rule of any host. Larger users ask hbs for each endpoint and metric they see
// first, and remember the answer: less is kept, but tags are not looked at, a deleted
// rule is noticed late, and a judge that starts asks millions of questions.
//
// Here a judge holds the rule book of the whole fleet, so it decides at once and by
// itself, for the series with its tags: an Index leads from a host to the rules of its
// set by metric, and from a metric to expressions. Nothing is unknown, nothing is
// asked. A new book makes a new Index; who remembers a decision remembers the Index
// it came from, and decides again when that is another one.
package filter
