// Package core judges: points of series in, events out. It is pure; the clock and the
// rules are arguments, and it is not for use by several goroutines at once.
//
// A Series keeps its newest points, the rules that watch it as of one Index, and the
// state of each rule. A point is judged by each of them: function, operator, state
// machine (contract alerting 1.4 to 1.9). Of a series of texts a point has the place of
// its text in a list that holds each once, so that all else is as with numbers.
package core
