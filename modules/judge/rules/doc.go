// Package rules keeps a judge's rule book: it follows an hbs, asks a stock one for
// stock's lists, and remembers the last book on disk, so that a judge that starts
// while no hbs is there judges on.
package rules
