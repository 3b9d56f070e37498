// Package api is the daemon that answers people and programs over HTTP: users and
// their sessions, teams, hosts and the rules about them, alarms, search over what the
// graphs hold, and the points themselves. The stock dashboard, scripts and our own
// page are its clients.
//
//	browser, scripts --HTTP :8080--> api --msgpack-RPC or gob--> graph nodes
//	                                  |--SQL--> portal (uic, falcon_portal, graph, alarms)
//	                                  |--Redis--> rules:dirty, which hbs hears; heartbeats
//	                                  |--HTTP--> hbs, which explains the rules of a host, whom a rule would watch, what a disable hides
//	                                  |--HTTP--> alarm, which tries channels
//	                                  \--RPC--> judges and plus_judges: how open problems stand, who works on them
//
// It listens on web_port (8080): routes below /api/v1 (package v1), the paths that
// every daemon has (/health, /metrics, …), and everything else is the dashboard
// when one is mounted.
//
// When it dies nothing is lost: it holds no state but the counters of failed
// logins, which start at zero again. Several of it may run side by side. A Redis, an
// hbs, an alarm or a judge that is away takes away what is asked of it and nothing else:
// rules are saved, and hbs sees them within a minute.
package api
