// Package failpoint names the steps of the code between which order matters, so that
// tests can kill a process at exactly one of them, as kill -9 does:
//
//	failpoint.Reached("spool.appended")
//
// A program that is built with the tag failpoint and started with FALCON_FAILPOINT=name
// dies when it comes to that step; with name:N when it comes there for the N-th time. A
// name that no step has ends it at once, and says so. Without the tag Reached compiles to
// nothing.
//
// Points lists all of them, with who walks over each: the tests that walk begin from Of,
// and a test of this package holds the list, the calls and docs/reliability.md together.
package failpoint
