package redisx

import (
	"fmt"
	"strings"
)

// Every key of the fleet is here, with its type, who writes and who reads it, and
// when it goes. Names without a hash tag are stock's and are shared with stock
// peers.

// Event is the list of events of a priority: JSON, pushed at the head by judge,
// taken at the tail by alarm. Elements go when alarm has told people.
func Event(priority int) string { return fmt.Sprintf("event:p%d", priority) }

// EventSeen marks an event as pushed to list: a string, written by judge with the
// push, read by no one else. It goes after a day.
func EventSeen(list, id, status string, eventTime int64, step, action int) string {
	return fmt.Sprintf("{%s}:seen:%s:%s:%d:%d:%d", list, id, status, eventTime, step, action)
}

const (
	// Epoch is a random string that a judge writes when it is missing: while it is
	// there Redis has the memory it had. It never expires.
	Epoch = "falcon:epoch"

	// Heartbeats is a hash, host name to the Unix time of its last heartbeat: written
	// by hbs, read by hbs's checker and by api. Entries of hosts that are gone or
	// silent for a week are removed by the checker.
	Heartbeats = "agent_heartbeat"

	// RulesDirty is a counter, raised by api after each change of the rules; a channel
	// of the same name says so. Read by hbs. It never expires.
	RulesDirty = "rules:dirty"

	// HBSLock is the lock of the hbs that compiles the rules for all, HBSGeneration the
	// number of times it changed hands. Neither matters when Redis forgets it.
	HBSLock       = "{falcon:hbs}:lock"
	HBSGeneration = "{falcon:hbs}:gen"

	// HBSBook is a hash that says which rules are in force: version (the end of the name
	// of their key), book (the version that judges see), generation, checked (Unix time at
	// which the rows were last read) and by. Written by the hbs that has HBSLock, read by
	// the others, who also listen to the channel of its name. It never expires.
	HBSBook = "{falcon:hbs}:book"

	// HBSLiveness is the lock of the hbs that looks after silent agents.
	HBSLiveness = "{falcon:hbs}:liveness"

	// UpgradeArgs is a string, the order of the upgrade of agents that is in force, as JSON
	// {id, args}: written by the hbs that an operator told, read by all hbs. It goes when
	// the order is cancelled.
	UpgradeArgs = "agent_upgrade_args"

	// UpgradeSet is the set of the hosts that upgrade right now, in the fork's place, where
	// operators count them with SCARD; UpgradeDue a sorted set, each with the Unix time at
	// which it gives its place back when nothing is heard of it. Both are written by hbs in
	// one step.
	UpgradeSet = "agent_upgrade_set"
	UpgradeDue = "{agent_upgrade_set}:due"

	// UpgradeWave is a hash, how far the upgrade is, and UpgradeHosts one of what became of
	// each host: written and read by hbs, gone with the order.
	UpgradeWave  = "{agent_upgrade_set}:wave"
	UpgradeHosts = "{agent_upgrade_set}:hosts"

	// UpgradeLead is the lock of the hbs that looks whether the next step may begin.
	UpgradeLead = "{agent_upgrade_set}:lead"

	// Dead is a list of events that can not be told, JSON {list, reason, at, event}:
	// written by alarm, read by its page /dead. The newest 10 000 are kept.
	Dead = "alarm:dead"

	// AlarmInstances is the set of alarms that have said they live: written by each
	// alarm, which also takes out those whose AlarmInstance has expired.
	AlarmInstances = "alarm:instances"

	// AlarmAdopter is the lock of the alarm that tells judges what other judges knew, and
	// AlarmAdopted a string, which judge has which series as it was when everything was
	// told. Neither matters when Redis forgets it.
	AlarmAdopter = "alarm:leader:adopt"
	AlarmAdopted = "alarm:adopt:view"

	// AlarmHousekeeper is the lock of the alarm that deletes what is old.
	AlarmHousekeeper = "alarm:leader:housekeeping"

	// AlarmRedealt is there for an hour after some events may have been dealt twice: written
	// by the alarm that deals.
	AlarmRedealt = "alarm:redealt"

	// AlarmDealer is the lock of the alarm that deals events out to the parts.
	AlarmDealer = "{alarm}:dealer"

	// NodataSender is the lock of the nodata that sends; the others stand by.
	NodataSender = "{falcon:nodata}:sender"
)

// HBSRules is a string, the rules of a version in the form of modules/hbs: written by the
// hbs that has HBSLock. It goes twenty minutes after it was last in force.
func HBSRules(version string) string { return HBSBook + ":" + version }

// PingNode is the lock of the ping node that asks the hosts of a data centre; its others
// stand by.
func PingNode(idc string) string { return "{falcon:ping}:node:" + idc }

// Aggregators is the lock of the poly_metric that works the rows of cluster with ids
// from first to last, as its configuration has them (-1 is open): several that share
// the rows by ranges of ids have a lock for each range.
func Aggregators(first, last int64) string {
	return fmt.Sprintf("{falcon:poly_metric}:aggregators:%d:%d", first, last)
}

// A ForkSet names where the fork's hbs keep one of the tables that rules are made of: a
// lock (a string, the Unix time at which it ends, with that expiry), a pointer (a string,
// the name of the key that is in force; it never expires) and that key (a hash, written
// once, which goes after twenty minutes). Written and read by the fork's hbs and, with
// redis_compat "fork", by ours.
type ForkSet struct{ Lock, Pointer, Data string }

// The fork's tables; the values of the hashes are in modules/hbs. Data is the beginning
// of the key's name, behind which the host's name and the time of day stand, or the time
// alone.
var (
	ForkPlugins        = ForkSet{"GroupPluginsLock", "plugin", "plugin"}
	ForkGroupTemplates = ForkSet{"GroupTemplatesLock", "template", "template_<host>_"}
	ForkHostGroups     = ForkSet{"HostGroupsMapLock", "group", "group_<host>_"}
	ForkHosts          = ForkSet{"HostMapLock", "host", "host_<host>_"}
	ForkMonitored      = ForkSet{"MonitoredHostsLock", "monitored_host", "monitored_host_<host>_"}
	ForkTemplates      = ForkSet{"TemplateCacheLock", "tpl", "tpl_<host>_"}
	ForkHostTemplates  = ForkSet{"HostTemplateIdsLock", "host_template", "host_template_<host>_"}
	ForkStrategies     = ForkSet{"StrategiesLock", "strategies", "strategies_<host>_"}
	ForkExpressions    = ForkSet{"ExpressionCacheLock", "expressions", "expressions"}
	ForkServices       = ForkSet{"HostServiceIdsLockKey", "host_Service", "host_Service"}
)

// Part is the list of events of one part of all event ids: written by the alarm that
// deals, read by the one that holds the part's lock.
func Part(part, priority int) string { return fmt.Sprintf("{alarm:part:%d}:p%d", part, priority) }

// AlarmInstance is a string that says an alarm lives; it expires when the alarm does not
// renew it.
func AlarmInstance(name string) string { return "alarm:inst:" + name }

// AlarmCase is a hash of a case's last events, event:<action> to JSON: written by the
// alarm that works the case, read by the one that tells judges. It goes a week after the
// problem's end.
func AlarmCase(id string) string { return "alarm:case:{" + id + "}" }

// AlarmOwed is a hash of events whose people were told while the database was away, by
// event, status, time, step and action to JSON: written by the alarm that holds the part,
// and emptied once the rows are written.
func AlarmOwed(part int) string { return fmt.Sprintf("{alarm:part:%d}:owed", part) }

// PartLock is the lock of a part.
func PartLock(part int) string { return fmt.Sprintf("{alarm:part:%d}:lock", part) }

// Inflight is the list of what a consumer has taken from list and not finished.
func Inflight(list, consumer string) string { return tagged(list) + ":inflight:" + consumer }

// Lease is a string that says a consumer of list is alive; it expires when the
// consumer does not renew it.
func Lease(list, consumer string) string { return tagged(list) + ":lease:" + consumer }

// Consumers is the set of those who have ever taken from list and not been swept.
func Consumers(list string) string { return tagged(list) + ":consumers" }

// tagged returns key with a hash tag, so that keys made of it share its slot.
func tagged(key string) string {
	if strings.Contains(key, "{") {
		return key
	}
	return "{" + key + "}"
}
