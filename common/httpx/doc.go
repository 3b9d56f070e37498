// Package httpx is HTTP between daemons: a client that tries again and remembers
// the last good answer, and a server with limits that drains.
//
// Every HTTP call of the fleet goes through a Client; the import rules forbid an
// http.Client anywhere else but for the probes and downloads they list.
package httpx
