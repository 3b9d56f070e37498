// Package rulebook is the form in which hbs hands the rules of the whole fleet to
// judges (design: a book, not a copy per host).
//
//	strategy   a rule, once for each leaf template it reaches hosts through
//	set        the strategies that some hosts share, named by its content
//	host       a name and the set that is in force on it
//
// Hosts of a group share a set, so the book of a hundred thousand hosts is a few
// megabytes. A Book is a value: it is built or decoded whole, and then only read.
//
// The version of a book is a hash over its canonical form, so that every hbs that
// compiled the same rows says the same version, and a judge can check that what it
// built from a Delta is what hbs has.
//
// The canonical form is msgpack: arrays in the order of the fields here, lists
// sorted by their key, tags as sorted pairs. On the wire and on disk it is
// compressed with zstd.
package rulebook
