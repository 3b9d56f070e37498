// Package daemon is the shell that every binary of the fleet wears: flags, one
// configuration file, a logger, signals, an exit code, the admin pages over HTTP,
// and its counters as points (Reporter).
//
// Exit codes: 0 after a requested stop, 1 on failure, 2 when the flags or the
// configuration are wrong.
package daemon
