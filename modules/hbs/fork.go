package hbs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/redisx"
	"falcon/common/stat"
	"falcon/modules/hbs/compile"
)

// forkRows are rows that are shared with hbs of the fork (redis_compat "fork"): each
// table has a lock of its own, which one hbs, theirs or ours, gets for a minute. What it
// reads it publishes, and the others take that. Of ours only the one that compiles takes
// part.
//
// What another hbs published and can not be read, or is empty, is taken from the
// database: the fork is known to publish less than there is. What the fork's tables do
// not have (names of groups, actions, hours, what is disabled) is always ours.
type forkRows struct {
	Rows
	pool *redisx.Pool
	loc  *time.Location
	log  *slog.Logger
	now  func() time.Time

	took map[redisx.ForkSet]string // what stands in the locks that this hbs took

	published, taken *stat.Counter
	unreadable       *stat.Reasons // by pointer
}

// separator stands between the elements of a list.
const separator = "|||"

// A forkTable is written from rows and read into them.
type forkTable struct {
	redisx.ForkSet
	write func(rows *portal.RuleRows, res *compile.Result) map[string]string
	read  func(fields map[string]string, rows *portal.RuleRows) error
}

// forkTables are in the order in which they are read: hosts before those in maintenance.
var forkTables = []forkTable{
	{redisx.ForkHosts, func(rows *portal.RuleRows, _ *compile.Result) map[string]string {
		m := map[string]string{}
		for _, h := range rows.Hosts {
			m[h.Name] = strconv.Itoa(h.ID)
		}
		return m
	}, readHosts},
	{redisx.ForkMonitored, func(_ *portal.RuleRows, res *compile.Result) map[string]string {
		m := map[string]string{}
		for id, h := range res.Hosts() {
			m[strconv.Itoa(id)] = h.Name
		}
		return m
	}, readMonitored},
	{redisx.ForkHostGroups, func(rows *portal.RuleRows, _ *compile.Result) map[string]string {
		return lists(rows.GroupHosts, func(p portal.RulePair) (int, string) { return p.Other, strconv.Itoa(p.Group) })
	}, func(fields map[string]string, rows *portal.RuleRows) (err error) {
		rows.GroupHosts, err = pairs(fields, func(key, element int) portal.RulePair { return portal.RulePair{Group: element, Other: key} })
		return err
	}},
	{redisx.ForkGroupTemplates, func(rows *portal.RuleRows, _ *compile.Result) map[string]string {
		return lists(rows.GroupTemplates, func(p portal.RulePair) (int, string) { return p.Group, strconv.Itoa(p.Other) })
	}, func(fields map[string]string, rows *portal.RuleRows) (err error) {
		rows.GroupTemplates, err = pairs(fields, func(key, element int) portal.RulePair { return portal.RulePair{Group: key, Other: element} })
		return err
	}},
	{redisx.ForkHostTemplates, func(rows *portal.RuleRows, _ *compile.Result) map[string]string {
		bound := map[int][]int{}
		for _, p := range rows.GroupTemplates {
			bound[p.Group] = append(bound[p.Group], p.Other)
		}
		var all []portal.RulePair // host, template
		for _, p := range rows.GroupHosts {
			for _, tpl := range bound[p.Group] {
				all = append(all, portal.RulePair{Group: p.Other, Other: tpl})
			}
		}
		return lists(all, func(p portal.RulePair) (int, string) { return p.Group, strconv.Itoa(p.Other) })
	}, nil}, // it follows from the two before
	{redisx.ForkPlugins, func(rows *portal.RuleRows, _ *compile.Result) map[string]string {
		return lists(rows.Plugins, func(p portal.RulePlugin) (int, string) { return p.Group, p.Dir })
	}, readPlugins},
	{redisx.ForkTemplates, func(_ *portal.RuleRows, res *compile.Result) map[string]string {
		return texts(res.Templates())
	}, readTemplates},
	{redisx.ForkStrategies, func(_ *portal.RuleRows, res *compile.Result) map[string]string {
		all := res.Strategies()
		maps.DeleteFunc(all, func(_ int, s model.Strategy) bool { return s.ValueType == model.ValueString }) // which the fork knows nothing of
		return texts(all)
	}, readStrategies},
	{redisx.ForkExpressions, func(_ *portal.RuleRows, res *compile.Result) map[string]string {
		m := map[int]*model.Expression{}
		for _, e := range res.Book.Expressions {
			m[e.Id] = e
		}
		return texts(m)
	}, readExpressions},
	{redisx.ForkServices, func(rows *portal.RuleRows, res *compile.Result) map[string]string {
		m := map[string]string{}
		for _, h := range rows.Hosts {
			if names := res.Services(h.Name); len(names) > 0 {
				m[h.Name] = strings.Join(names, ",")
			}
		}
		return m
	}, nil}, // by host it does not say which group names a service; the database does
}

// RuleRows reads the database, publishes the tables whose locks it gets, and takes the
// others as they were published.
func (f *forkRows) RuleRows(ctx context.Context) (*portal.RuleRows, error) {
	rows, err := f.Rows.RuleRows(ctx)
	if err != nil {
		return nil, err
	}
	res := compile.Compile(rows, f.now().In(f.loc))
	out := *rows
	for _, t := range forkTables {
		value, err := f.pool.TakeForkLock(ctx, t.ForkSet, f.took[t.ForkSet])
		if err != nil {
			f.log.Debug("the fork's tables are not shared", "err", err)
			break // Redis is away, for the others as well
		}
		if value != "" {
			f.took[t.ForkSet] = value
			if err := f.pool.PublishFork(ctx, t.ForkSet, t.write(rows, res)); err != nil {
				f.log.Warn("a table is not published for hbs of the fork", "table", t.Pointer, "err", err)
				continue
			}
			f.published.Add(1)
			continue
		}
		if t.read == nil {
			continue
		}
		fields, err := f.pool.ReadFork(ctx, t.ForkSet)
		if err == nil {
			next := out
			if err = t.read(fields, &next); err == nil {
				out = next
				f.taken.Add(1)
				continue
			}
		}
		f.unreadable.Add(t.Pointer, 1)
		if !errors.Is(err, redisx.Nil) {
			f.log.Warn("a table of another hbs is not readable, the database's is taken", "table", t.Pointer, "err", err)
		}
	}
	return &out, nil
}

// lists makes a hash of lists.
func lists[T any](all []T, of func(T) (key int, element string)) map[string]string {
	m := map[string]string{}
	for _, x := range all {
		key, element := of(x)
		k := strconv.Itoa(key)
		if was, ok := m[k]; ok {
			element = was + separator + element
		}
		m[k] = element
	}
	return m
}

// texts makes a hash of JSON.
func texts[T any](all map[int]T) map[string]string {
	m := map[string]string{}
	for id, x := range all {
		b, err := json.Marshal(x)
		if err != nil {
			continue // not with these types: numbers are finite, texts are texts
		}
		m[strconv.Itoa(id)] = string(b)
	}
	return m
}

// pairs reads a hash of lists of ids, in order.
func pairs(fields map[string]string, pair func(key, element int) portal.RulePair) (all []portal.RulePair, err error) {
	for k, list := range fields {
		key, err := strconv.Atoi(k)
		if err != nil {
			return nil, fmt.Errorf("%q is no id", k)
		}
		for text := range strings.SplitSeq(list, separator) {
			element, err := strconv.Atoi(text)
			if err != nil {
				return nil, fmt.Errorf("%q of %s is no id", text, k)
			}
			all = append(all, pair(key, element))
		}
	}
	slices.SortFunc(all, func(a, b portal.RulePair) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Other, b.Other))
	})
	return all, nil
}

// readHosts keeps what rows have beside the names: maintenance, of hosts that are there.
func readHosts(fields map[string]string, rows *portal.RuleRows) error {
	own := map[int]portal.RuleHost{}
	for _, h := range rows.Hosts {
		own[h.ID] = h
	}
	var all []portal.RuleHost
	for name, text := range fields {
		id, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q of %s is no id", text, name)
		}
		h := own[id]
		h.ID, h.Name = id, name
		all = append(all, h)
	}
	slices.SortFunc(all, func(a, b portal.RuleHost) int { return cmp.Compare(a.ID, b.ID) })
	rows.Hosts = all
	return nil
}

// always is a maintenance without an end that is known.
const always = 1<<31 - 1

// readMonitored puts the hosts that are not in fields into maintenance, and no other.
func readMonitored(fields map[string]string, rows *portal.RuleRows) error {
	rows.Hosts = slices.Clone(rows.Hosts)
	for i := range rows.Hosts {
		h := &rows.Hosts[i]
		h.MaintainBegin, h.MaintainEnd = 0, 0
		if _, ok := fields[strconv.Itoa(h.ID)]; !ok {
			h.MaintainEnd = always
		}
	}
	return nil
}

func readPlugins(fields map[string]string, rows *portal.RuleRows) error {
	var all []portal.RulePlugin
	for k, list := range fields {
		id, err := strconv.Atoi(k)
		if err != nil {
			return fmt.Errorf("%q is no id", k)
		}
		for dir := range strings.SplitSeq(list, separator) {
			all = append(all, portal.RulePlugin{Group: id, Dir: dir})
		}
	}
	slices.SortFunc(all, func(a, b portal.RulePlugin) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Dir, b.Dir))
	})
	rows.Plugins = all
	return nil
}

// decoded reads a hash of JSON in the order of ids.
func decoded[T any](fields map[string]string, id func(*T) int) (all []T, err error) {
	for k, text := range fields {
		var x T
		if err := json.Unmarshal([]byte(text), &x); err != nil {
			return nil, fmt.Errorf("%s: %w", k, err)
		}
		if strconv.Itoa(id(&x)) != k {
			return nil, fmt.Errorf("%s has the id %d", k, id(&x))
		}
		all = append(all, x)
	}
	slices.SortFunc(all, func(a, b T) int { return cmp.Compare(id(&a), id(&b)) })
	return all, nil
}

func readTemplates(fields map[string]string, rows *portal.RuleRows) error {
	all, err := decoded(fields, func(t *model.Template) int { return t.Id })
	if err != nil {
		return err
	}
	rows.Templates = make([]portal.RuleTemplate, len(all))
	for i, t := range all {
		rows.Templates[i] = portal.RuleTemplate{ID: t.Id, Name: t.Name, Parent: t.ParentId, Action: t.ActionId, Creator: t.Creator}
	}
	return nil
}

// readStrategies takes those that are in their hours as they were published; of the
// others the fork says nothing, and rows know them.
func readStrategies(fields map[string]string, rows *portal.RuleRows) error {
	published, err := decoded(fields, func(s *model.Strategy) int { return s.Id })
	if err != nil {
		return err
	}
	there := map[int]bool{}
	var all []portal.RuleStrategy
	for _, s := range published {
		if s.Tpl == nil {
			return fmt.Errorf("strategy %d has no template", s.Id)
		}
		there[s.Id] = true
		all = append(all, portal.RuleStrategy{
			ID: s.Id, Metric: s.Metric, Tags: model.SortedTags(s.Tags), MaxStep: s.MaxStep, Priority: s.Priority, Func: s.Func, Op: s.Operator,
			RightValue: strconv.FormatFloat(s.RightValue, 'g', -1, 64), Note: s.Note, Template: s.Tpl.Id,
		})
	}
	for _, s := range rows.Strategies {
		if !there[s.ID] && (s.RunBegin != "" || s.RunEnd != "" || s.ValueType == portal.ValueString) {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b portal.RuleStrategy) int { return cmp.Compare(a.ID, b.ID) })
	rows.Strategies = all
	return nil
}

func readExpressions(fields map[string]string, rows *portal.RuleRows) error {
	published, err := decoded(fields, func(e *model.Expression) int { return e.Id })
	if err != nil {
		return err
	}
	rows.Expressions = make([]portal.RuleExpression, len(published))
	for i, e := range published {
		text := "each(metric=" + e.Metric
		for tag := range strings.SplitSeq(model.SortedTags(e.Tags), ",") {
			text += " " + tag
		}
		rows.Expressions[i] = portal.RuleExpression{
			ID: e.Id, Expression: text + ")", Func: e.Func, Op: e.Operator, RightValue: strconv.FormatFloat(e.RightValue, 'g', -1, 64),
			MaxStep: e.MaxStep, Priority: e.Priority, Note: e.Note, Action: e.ActionId,
		}
	}
	return nil
}
