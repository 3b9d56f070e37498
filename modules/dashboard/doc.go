// Package dashboard is the web page of the fleet: its assets, made from web/ and
// embedded, and a small server for them.
//
//	browser --HTTP :8082--> dashboard --/api--> api :8080
//
// In one process there is no such server: Handler is mounted at / of api, so that
// the page and the api have one origin. Alone, the daemon listens on listen (8082)
// and passes everything below /api on to api, which makes it one origin again: the
// session's cookie works and no other site may use it. Beside that it has the paths
// of every daemon (/health, /metrics, …).
//
// The page speaks to nobody but the api. When the daemon dies nothing is lost: it
// holds nothing.
//
// There yet: login, Explore, alarms with the bell, hosts, host groups, templates,
// expressions, teams and channels. Not there yet: home, screens, reports, fleet and audit.
// The addresses of the former dashboard lead to the page that took their place
// (/portal/template/view/…), or to one that says that it is not there yet (/screen/…,
// /chart/…, /portal/links/…).
package dashboard
