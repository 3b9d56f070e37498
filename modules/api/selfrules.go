package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"falcon/common/portal"
)

// SelfTemplate is the template of the rules by which a fleet watches itself.
const SelfTemplate = "falcon.self"

// markSelf remembers that it was made.
const markSelf = "self rules"

// SelfRules are what an operator must act on (contract alerting 4.19): the counters that
// daemons push about themselves, with the tag module. docs/operations.md says of each what
// to do. A count that must not grow is looked at over three minutes, so that one bad
// moment is one alarm.
var SelfRules = []portal.Strategy{
	{Metric: "health", Func: "all(#3)", Op: "==", RightValue: "0", MaxStep: 3, Priority: 1, Note: "a daemon does not work: its /health says why"},
	{Metric: "disk.free.percent", Func: "all(#1)", Op: "<", RightValue: "10", MaxStep: 3, Priority: 1, Note: "the disk with a daemon's data is nearly full: make room"},
	{Metric: "SpoolPercent", Func: "all(#1)", Op: ">", RightValue: "50", MaxStep: 3, Priority: 1, Note: "a spool is half full: bring back who does not take the points"},

	{Metric: "SendDropCnt", Tags: "module=agent", Func: "diff(#3)", Op: ">", RightValue: "0", MaxStep: 3, Priority: 1, Note: "an agent drops points: no transfer takes them"},
	{Metric: "SpoolCnt", Tags: "module=transfer", Func: "all(#3)", Op: ">", RightValue: "0", MaxStep: 3, Priority: 2, Note: "points wait for a graph or judge: /health of transfer names it"},
	{Metric: "SpoolCnt", Tags: "module=gateway", Func: "all(#3)", Op: ">", RightValue: "0", MaxStep: 3, Priority: 2, Note: "points wait: no transfer takes them from a gateway"},
	{Metric: "StaleCnt", Tags: "module=transfer", Func: "diff(#3)", Op: ">", RightValue: "0", MaxStep: 3, Priority: 1, Note: "points were never judged: their judge was away for too long"},
	{Metric: "SendToGraphDropCnt", Tags: "module=transfer", Func: "diff(#3)", Op: ">", RightValue: "0", MaxStep: 3, Priority: 1, Note: "points are refused since a graph's spool is full"},
	{Metric: "RecvInvalidCnt", Tags: "module=transfer", Func: "diff(#3)", Op: ">", RightValue: "0", MaxStep: 1, Priority: 4, Note: "transfer refuses points: /debug/rejected says whose and why"},

	{Metric: "ReadOnly", Tags: "module=graph", Func: "all(#1)", Op: ">", RightValue: "0", MaxStep: 3, Priority: 0, Note: "a graph stores nothing: make room on its disk and restart it"},
	{Metric: "UnstoredCnt", Tags: "module=graph", Func: "diff(#3)", Op: ">", RightValue: "0", MaxStep: 1, Priority: 2, Note: "a graph refuses series or points: Home says why"},

	{Metric: "strategy.age", Tags: "module=judge", Func: "all(#1)", Op: ">", RightValue: "300", MaxStep: 3, Priority: 1, Note: "a judge hears of no hbs: it judges by old rules"},
	{Metric: "event.spool", Tags: "module=judge", Func: "all(#3)", Op: ">", RightValue: "0", MaxStep: 3, Priority: 1, Note: "events of a judge wait: is Redis away or full?"},
	{Metric: "event.spool", Tags: "module=plus_judge", Func: "all(#3)", Op: ">", RightValue: "0", MaxStep: 3, Priority: 1, Note: "events of a plus_judge wait: is Redis away or full?"},

	{Metric: "strategy.version.age", Tags: "module=hbs", Func: "all(#1)", Op: ">", RightValue: "300", MaxStep: 3, Priority: 1, Note: "nobody reads the rules from the database any more"},
	{Metric: "strategy.bad", Tags: "module=hbs", Func: "all(#3)", Op: ">", RightValue: "0", MaxStep: 1, Priority: 3, Note: "rules are set aside since they can not be read: /bad of hbs"},
	{Metric: "db.error", Tags: "module=hbs", Func: "diff(#3)", Op: ">", RightValue: "0", MaxStep: 3, Priority: 2, Note: "hbs can not write heartbeats to the database"},

	{Metric: "queue.len", Tags: "module=alarm", Func: "all(#3)", Op: ">", RightValue: "1000", MaxStep: 3, Priority: 1, Note: "events pile up: people hear late of what is wrong"},
	{Metric: "lag.sec", Tags: "module=alarm", Func: "all(#1)", Op: ">", RightValue: "120", MaxStep: 3, Priority: 1, Note: "events come late: is a judge, Redis or the database slow?"},
	{Metric: "finally_failed.len", Tags: "module=alarm", Func: "diff(#3)", Op: ">", RightValue: "0", MaxStep: 3, Priority: 1, Note: "messages were given up: a channel takes none, see Channels"},
	{Metric: "dead", Tags: "module=alarm", Func: "diff(#3)", Op: ">", RightValue: "0", MaxStep: 1, Priority: 2, Note: "events can not be told: /dead of alarm says why"},
	{Metric: "db.error", Tags: "module=alarm", Func: "diff(#3)", Op: ">", RightValue: "0", MaxStep: 3, Priority: 2, Note: "alarm can not write to its database"},

	{Metric: "nodata.blocking", Tags: "module=nodata", Func: "all(#1)", Op: ">", RightValue: "0", MaxStep: 3, Priority: 2, Note: "nodata is silent: too many series stopped at once, the road may be broken"},
	{Metric: "drop", Tags: "module=poly_metric", Func: "diff(#3)", Op: ">", RightValue: "0", MaxStep: 3, Priority: 3, Note: "results for groups are lost: push_api of poly_metric takes none"},

	// Its events tell alarm that the road is good; it tells nobody.
	{Metric: "deadman.probe", Tags: "module=alarm", Func: "all(#1)", Op: ">", RightValue: "0", MaxStep: 1, Priority: 6, Note: "feeds the dead man's switch of alarm; tells nobody"},
}

// EnsureSelfRules makes the template SelfTemplate, once in the life of a portal: bound to a
// group, which has every host that runs a daemon of the fleet and is made when it is
// missing, and for a team, which must be there. What an operator deletes does not come
// back, but with again. It says whether the template was made now.
func EnsureSelfRules(ctx context.Context, db *portal.DB, group, team string, again bool, now time.Time) (made bool, err error) {
	mark := markSelf
	if again {
		mark = fmt.Sprintf("%s, ordered at %d", markSelf, now.UnixNano())
	}
	if done, err := db.Marked(ctx, mark); err != nil || done {
		return false, err
	}
	if _, err := db.TeamByName(ctx, team); err != nil {
		return false, fmt.Errorf("team %q: %w", team, err)
	}
	id, err := ensureGroup(ctx, db, group)
	if err != nil {
		return false, err
	}
	made, err = db.FirstRules(ctx, mark, now, &portal.Rules{
		Template: portal.Template{Name: SelfTemplate, CreateUser: RootName}, Action: portal.Action{UIC: team}, Strategies: SelfRules, Groups: []int64{id},
	})
	if err != nil {
		return false, fmt.Errorf("make the template %s: %w", SelfTemplate, err)
	}
	return made, nil
}

// ensureGroup returns the id of the group of that name.
func ensureGroup(ctx context.Context, db *portal.DB, name string) (int64, error) {
	id, err := db.CreateGroup(ctx, name, RootName)
	if errors.Is(err, portal.ErrExists) {
		var g *portal.Group
		if g, err = db.GroupByName(ctx, name); err == nil {
			id = g.ID
		}
	}
	if err != nil {
		return 0, fmt.Errorf("group %q: %w", name, err)
	}
	return id, nil
}
