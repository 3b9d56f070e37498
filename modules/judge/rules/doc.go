// Package rules keeps a judge's rule book: it follows an hbs, and remembers the last book
// on disk, so that a judge that starts while no hbs is there judges on.
//
// An hbs is asked by the first road that it has:
//
//	HbsNew.Book                   ours: the whole book, and then what changes
//	HbsNew.GetFilteredStrategies  for each endpoint and metric that was seen (asked.go)
//	Hbs.GetStrategies             stock's: everything, each interval
//	Hbs.GetOneEndStrategies       a fork's, whose GetStrategies is always empty: for each
//	                              endpoint that was seen
//
// Whatever the road, an error changes nothing, and an answer that is empty, or has lost
// half of many rules, counts when it is the same a minute later.
package rules
