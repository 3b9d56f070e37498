package model

import (
	"strconv"
	"strings"
)

// The structs of this file are stock's rules and events, with stock's names, keys
// and types (contract ingest 1.2, alerting 1.10). What ours adds is omitted while it
// is empty, so that what a stock peer could have said has stock's bytes.

// Template is the template that a strategy is in force through.
type Template struct {
	Id       int    `json:"id"`
	Name     string `json:"name"`
	ParentId int    `json:"parentId"` // 0 for none
	ActionId int    `json:"actionId"` // 0 for none: nobody is told
	Creator  string `json:"creator"`
}

// Strategy is one rule of a template. Tpl is the leaf of the chain through which it
// reaches a host, not the template that owns it (contract alerting 3.4).
type Strategy struct {
	Id         int               `json:"id"`
	Metric     string            `json:"metric"`
	Tags       map[string]string `json:"tags"` // a key with ^ before it excludes
	Func       string            `json:"func"`
	Operator   string            `json:"operator"`
	RightValue float64           `json:"rightValue"`
	MaxStep    int               `json:"maxStep"`  // alarms until recovery; 0 mutes
	Priority   int               `json:"priority"` // 0 the most severe of the ordinary ones, 9 special
	Note       string            `json:"note"`
	Tpl        *Template         `json:"tpl"`

	UnionStrategyId int    `json:"union_strategy_id,omitempty"` // the fork's; 0 is a plain strategy
	MultiSerial     string `json:"multi_serial,omitempty"`      // names the combination it is a member of
	MultiCount      int    `json:"multi_count,omitempty"`       // members of that combination
	ValueType       string `json:"valueType,omitempty"`         // "string", else a number is compared
	RightString     string `json:"rightString,omitempty"`
}

// Expression is a rule without template or host: each(metric=… k=v …).
type Expression struct {
	Id         int               `json:"id"`
	Metric     string            `json:"metric"`
	Tags       map[string]string `json:"tags"`
	Func       string            `json:"func"`
	Operator   string            `json:"operator"`
	RightValue float64           `json:"rightValue"`
	MaxStep    int               `json:"maxStep"`
	Priority   int               `json:"priority"`
	Note       string            `json:"note"`
	ActionId   int               `json:"actionId"`
}

// Statuses of an event.
const (
	StatusProblem = "PROBLEM"
	StatusOK      = "OK"
)

// Event is what judge pushes to Redis and alarm tells people. Exactly one of
// Strategy and Expression is set; read them through the methods, for what arrives
// may have neither.
type Event struct {
	Id          string            `json:"id"` // s_<strategy id>_<md5 of the PK>, e_… or m_… of several conditions
	Strategy    *Strategy         `json:"strategy"`
	Expression  *Expression       `json:"expression"`
	Status      string            `json:"status"`
	Endpoint    string            `json:"endpoint"`
	LeftValue   float64           `json:"leftValue"`
	CurrentStep int               `json:"currentStep"`
	EventTime   int64             `json:"eventTime"` // Unix seconds of the newest point
	PushedTags  map[string]string `json:"pushedTags"`

	LeftString  string   `json:"leftString,omitempty"`  // of a string strategy: the newest text; LeftValue is 0
	RightString string   `json:"rightString,omitempty"` // of a string strategy: what it compares with
	EventChain  []*Event `json:"event_chain,omitempty"` // the other members of a combination
	// Every is how far apart the series' points are, in seconds, when that is longer than
	// a refresh: on the way from judge to plus_judge, which then waits longer for the next.
	Every int64 `json:"every,omitempty"`
	// Closed says why the rule no longer watches the series: strategy_removed,
	// host_removed or stale. Such an event is an OK that nobody is told.
	Closed string `json:"closed,omitempty"`
}

// Reasons of Event.Closed.
const (
	ClosedStrategyRemoved = "strategy_removed"
	ClosedHostRemoved     = "host_removed"
	ClosedStale           = "stale"
)

// rule returns the fields that a strategy and an expression share, by what is set.
func (e *Event) rule() (metric, fn, op string, right float64, max, priority int, note string) {
	switch {
	case e.Strategy != nil:
		s := e.Strategy
		return s.Metric, s.Func, s.Operator, s.RightValue, s.MaxStep, s.Priority, s.Note
	case e.Expression != nil:
		x := e.Expression
		return x.Metric, x.Func, x.Operator, x.RightValue, x.MaxStep, x.Priority, x.Note
	}
	return "", "", "", 0, 0, 0, ""
}

// ValueString is Strategy.ValueType of a rule about texts.
const ValueString = "string"

// Texts says whether the event's rule compares texts.
func (e *Event) Texts() bool { return e.Strategy != nil && e.Strategy.ValueType == ValueString }

// Metric returns the metric of the event's rule, empty when it has no rule.
func (e *Event) Metric() string { metric, _, _, _, _, _, _ := e.rule(); return metric }

// Func returns the function of the event's rule, as written.
func (e *Event) Func() string { _, fn, _, _, _, _, _ := e.rule(); return fn }

// Operator returns the operator of the event's rule.
func (e *Event) Operator() string { _, _, op, _, _, _, _ := e.rule(); return op }

// RightValue returns the threshold of the event's rule.
func (e *Event) RightValue() float64 { _, _, _, right, _, _, _ := e.rule(); return right }

// MaxStep returns how often the event's rule tells one problem.
func (e *Event) MaxStep() int { _, _, _, _, max, _, _ := e.rule(); return max }

// Priority returns the priority of the event's rule.
func (e *Event) Priority() int { _, _, _, _, _, priority, _ := e.rule(); return priority }

// Note returns the note of the event's rule.
func (e *Event) Note() string { _, _, _, _, _, _, note := e.rule(); return note }

// ActionId returns whom to tell: the action of the leaf template or of the
// expression; 0 for nobody.
func (e *Event) ActionId() int {
	switch {
	case e.Strategy != nil && e.Strategy.Tpl != nil:
		return e.Strategy.Tpl.ActionId
	case e.Expression != nil:
		return e.Expression.ActionId
	}
	return 0
}

// StrategyId returns the id of the event's strategy, 0 for an expression.
func (e *Event) StrategyId() int {
	if e.Strategy == nil {
		return 0
	}
	return e.Strategy.Id
}

// ExpressionId returns the id of the event's expression, 0 for a strategy.
func (e *Event) ExpressionId() int {
	if e.Expression == nil {
		return 0
	}
	return e.Expression.Id
}

// Tpl returns the leaf template; nil when there is none.
func (e *Event) Tpl() *Template {
	if e.Strategy == nil {
		return nil
	}
	return e.Strategy.Tpl
}

// Counter returns metric/sortedTags of the series that the event is about.
func (e *Event) Counter() string { return CounterOf(e.Metric(), SortedTags(e.PushedTags)) }

// HostStrategy holds the strategies in force on one host.
type HostStrategy struct {
	Hostname   string     `json:"hostname"`
	Strategies []Strategy `json:"strategies"`
}

// StrategiesResponse answers Hbs.GetStrategies.
type StrategiesResponse struct {
	HostStrategies []*HostStrategy `json:"hostStrategies"`
}

// ExpressionResponse answers Hbs.GetExpressions.
type ExpressionResponse struct {
	Expressions []*Expression `json:"expressions"`
}

// RuleTags reads the tags of a strategy. Spaces are deleted. Of a repeated key the last
// value counts, but the values of a repeated inverted key, ^k, are joined with
// commas: each of them excludes (contract alerting 1.8).
func RuleTags(s string) map[string]string {
	tags := map[string]string{}
	for pair := range strings.SplitSeq(strings.ReplaceAll(s, " ", ""), ",") {
		k, v, ok := strings.Cut(pair, "=")
		if !ok {
			continue
		}
		if old, ok := tags[k]; ok && strings.HasPrefix(k, "^") {
			v = old + "," + v
		}
		tags[k] = v
	}
	return tags
}

// Serial names the combination that the strategy is a member of, in ours or the fork's
// way; empty for a rule of its own.
func (s *Strategy) Serial() string {
	switch {
	case s == nil:
		return ""
	case s.MultiSerial != "":
		return s.MultiSerial
	case s.UnionStrategyId > 0:
		return "u_" + strconv.Itoa(s.UnionStrategyId)
	}
	return ""
}
