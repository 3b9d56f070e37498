// Package v1 is the HTTP interface below /api/v1: routes, who may call them, what
// they answer (contract query 2).
//
// routes.go is the one table: a route that is not in it does not exist, and a line
// of it says who may call it and which line the audit log gets. A handler takes a
// Call and returns what is to be answered, or an error; status, JSON and headers
// are made in one place (call.go).
//
//	users     login.go user.go admin.go team.go  the portal's uic database
//	rules     group.go host.go template.go strategy.go disable.go rulecheck.go backtest.go owner.go  its falcon_portal
//	alarms    alarm.go channel.go problem.go  its alarms, the alarm daemon, and judges
//	graphs    endpoint.go history.go delete.go  graph nodes, and their index
//
// Callers present themselves with stock's header Apitoken, or with the cookie that
// a browser gets at its login; see auth.go.
package v1
