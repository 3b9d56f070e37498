// Package expr is the arithmetic of rules: the functions and operators of contract
// alerting 1.5 to 1.7. A function is parsed once and then pure: values in, a verdict
// out, nothing is allocated.
//
//	all(#3) < 5        the last three values are all below 5
//	diff(#5) > 10      the newest value is more than 10 above one of the five before
//	lookup(#2,3) > 80  at least two of the last three values are above 80
//
// Values come newest first. Of a GAUGE they are what was pushed; of a COUNTER or
// DERIVE they are rates between neighbours (Values).
//
// And it is the arithmetic of aggregators (contract query 4.1): two formulas over the
// hosts of a group, one divided by the other (Ratio).
//
//	$(cpu.busy) / $#         the mean of the group
//	$(cpu.busy)>80 / $#      the share of its hosts that are above 80
package expr
