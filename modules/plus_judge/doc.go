// Package plusjudge is the daemon that joins several conditions of one host to one alarm
// (contract alerting 5.1): it tells a problem when all of them hold at the same time.
//
//	judge ── Judge.UnionJudge ──> rpc.go ──> core.go: which conditions hold, since when
//	                                         journal ──> outbox.go ──> Redis event:pN ──> alarm
//
// A judge sends an event of a condition when it begins or ends, and once a minute while
// it goes on. core.go keeps, for each combination and host, the last event of each
// series of each member. A member holds while one of its series is a problem that was
// heard of within 300 s; all members have to. The combination then goes through the
// states of any other rule, with max and interval of the member with the smallest id, and
// has an event of its own, m_<id>_<md5>, with the others in event_chain.
//
// core.go and view.go are the core: values in, values out, the time an argument.
//
// Ports: RPC 6082 (Judge.UnionJudge, PlusJudge.Send, PlusJudge.Combinations, Judge.Ack,
// Judge.Ping), HTTP 6083 (/combinations shows how near each is to an alarm). The file of
// a fork's judge with is_union loads, and falcon-judge with that file runs this module.
//
// What is lost when it dies: nothing that it answered for. The journal has each begin and
// end of a condition and each event; an event leaves the outbox when Redis has it. What
// held before a restart keeps a problem open for 300 s, and begins none. Judges refresh
// each minute, so a plus_judge without a journal knows everything after that; alarm drops
// a problem that it was told already.
package plusjudge
