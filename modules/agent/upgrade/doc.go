// Package upgrade replaces the program and the configuration of an agent where they
// stand (contract ingest 3.11).
//
//	order ── download to .new ── check ── try ── keep the old as .bak
//	      ── swap is written ── rename ── trial is written ── drain, exit 0
//	next start: guard ── the new one ── heartbeat taken: done
//	              └── started too often, or too late: the old one is put back
//
// Nothing that runs is touched before the new file has the checksums that were ordered,
// has answered -v with the version that was ordered, and has taken the live
// configuration by -t. From "swap is written" on the way leads forward: whoever comes
// next, the guard or the agent, finishes the renames. A kill at any step leaves a
// program that starts.
//
// What it knows stands in upgrade.json beside the program. falcon-agent-guard, which is
// never upgraded in this way, reads it before each start.
package upgrade
