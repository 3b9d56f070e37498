// Package verdict is the state machine of one rule on one series: when a condition
// that holds becomes a PROBLEM, when it is told again, and when it is over (contract
// alerting 1.9). It is pure: judge runs it on live points, and a Trial on stored ones,
// which says before a rule is saved what it would have told.
package verdict
