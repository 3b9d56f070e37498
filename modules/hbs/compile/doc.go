// Package compile turns the rows of falcon_portal into the rule book: groups bind
// templates to hosts, templates inherit from templates, a strategy of a descendant
// replaces those of its ancestors that watch the same thing (contract alerting 3.4). Disables
// take some of it away for a while (3.5), and a binding may be for the hosts of one
// environment (3.7).
// It is pure: rows and a moment in, a book and its explanation out.
package compile
