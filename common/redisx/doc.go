// Package redisx is how the fleet speaks to Redis: a pool whose calls have
// deadlines, every key in one file (keys.go), and the three things that are built
// on it:
//
//	Lock    one of several does the work: a token, a time to live, renewal
//	Queue   a list whose elements leave only when their work is done
//	PushOnce  an element that is pushed again is not there twice
//
// Redis is shared with stock peers: their lists keep their names and their elements
// their form. It is a single one or a Redis Cluster (cluster.go): keys that one script
// touches carry a common hash tag, so that they share a slot, and nothing relies on
// the order of commands for different keys.
package redisx
