// Package hbs is the daemon between the portal and everybody who needs what stands
// there: judges get the rules, agents what they have to collect, and the portal
// learns which hosts are alive.
//
//	portal ── rows ──> compile ──> rule book ──> judge    HbsNew.Book, or stock's Hbs.GetStrategies
//	agent  ── Agent.ReportStatus ──> table host, agent_heartbeat in Redis
//	agent  <── Agent.BuiltinMetrics, Agent.MinePlugins
//	agent_heartbeat ── each minute ──> transfer: agent.heartbeat.alive
//
// Ports: RPC 6030, admin HTTP 6031.
//
// A change in the portal is in force within a second of the api saying so (counter
// and channel rules:dirty in Redis), else within a minute, and when a strategy's
// hours, a maintenance or a disable begin or end. Until its first book is compiled, hbs answers an error to
// everybody who asks for rules: an empty answer would wipe them.
//
// What is lost when it dies: heartbeats of the last second, which agents repeat
// each minute. Judges go on with the book they have. Several may run side by side;
// each compiles for itself, and since versions are made of the content they agree.
//
// Not there yet: the lock by which one of several compiles for all, final strategies without tags (HbsNew.GetFilteredStrategies), and
// the fork's per-host calls.
package hbs
