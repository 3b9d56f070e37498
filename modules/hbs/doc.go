// Package hbs is the daemon between the portal and everybody who needs what stands
// there: judges get the rules, agents what they have to collect, and the portal
// learns which hosts are alive.
//
//	portal ── rows ──> compile ──> rule book ──> judge    HbsNew.Book, or stock's Hbs.GetStrategies
//	agent  ── Agent.ReportStatus ──> table host, agent_heartbeat in Redis
//	agent  <── Agent.BuiltinMetrics, Agent.MinePlugins, Agent.SyncServiceNames
//	agent_heartbeat ── each minute ──> transfer: agent.heartbeat.alive
//
// Ports: RPC 6030, admin HTTP 6031.
//
// A change in the portal is in force within a second of the api saying so (counter
// and channel rules:dirty in Redis), else within a minute, and when a strategy's
// hours, a maintenance or a disable begin or end. Until its first book is compiled,
// hbs answers an error to everybody who asks for rules: an empty answer would wipe
// them.
//
// Of several hbs on one Redis one has a lock (LeadFenced in redisx) and compiles; it
// publishes the rows it compiled from, and the others make the same book of them
// (keeper.go, share.go). Whoever leads counts a generation up, and what an earlier one
// wants to publish is refused. A leader that dies or hangs is replaced within ten seconds, and
// within one when another on its machine, or it itself once it is started again, can see
// that it is dead;
// without Redis each hbs compiles for itself. Since versions are made of the content,
// all agree.
//
// Agents upgrade themselves when the answer to their heartbeat says so (upgrade.go,
// upgradehttp.go, package wave): an operator orders a version, all hbs share the order, the
// set of those who upgrade right now and the wave in Redis, and each step that failed or
// was refused stands with its reason in /agent/upgrade/status. Two machines that report
// under one name are found by their ids and addresses (claims.go).
//
// What is lost when it dies: heartbeats of the last second, which agents repeat
// each minute. Judges go on with the book they have.
//
// Judges of others that ask for what they have seen are answered from the same book:
// HbsNew.GetFilteredStrategies by endpoint and metric, Hbs.GetOneEndStrategies by host
// (somerules.go). Rules about texts are left out there; Hbs.GetStringStrategies has them
// (texts.go).
package hbs
