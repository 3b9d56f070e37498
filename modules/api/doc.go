// Package api is the daemon that answers people and programs over HTTP: users and
// their sessions, search over what the graphs hold, and the points themselves. The
// stock dashboard, scripts and our own page are its clients.
//
//	browser, scripts --HTTP :8080--> api --msgpack-RPC or gob--> graph nodes
//	                                  \--SQL--> portal (uic, falcon_portal, graph)
//
// It listens on web_port (8080): routes below /api/v1 (package v1), the paths that
// every daemon has (/health, /metrics, …), and everything else is the dashboard
// when one is mounted.
//
// When it dies nothing is lost: it holds no state but the counters of failed
// logins, which start at zero again. Several of it may run side by side.
//
// Not there yet: routes of teams, hosts, groups, templates, strategies,
// expressions, nodata, aggregators, plugins, alarms, screens and Grafana (contract
// query 2.4.2 to 2.4.9 and 2.4.11).
package api
