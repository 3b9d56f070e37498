package v1

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/verdict"
)

func (s *server) strategies(c *Call) (any, error) {
	tid, err := c.positive("tid", 0)
	if err != nil {
		return nil, err
	}
	if tid == 0 {
		return nil, badField("tid", "tid is required: the id of a template")
	}
	return s.Portal.Strategies(c.Ctx(), int64(tid))
}

func (s *server) strategyOfPath(c *Call) (*portal.Strategy, error) {
	return ofPath(c, "sid", "a strategy", s.Portal.Strategy)
}

func (s *server) strategy(c *Call) (any, error) {
	st, err := s.strategyOfPath(c)
	if err != nil {
		return nil, err
	}
	return st, nil
}

// ownStrategies refuses callers to whom the template of a strategy does not belong.
func (s *server) ownStrategies(c *Call, template int64) error {
	t, err := s.Portal.Template(c.Ctx(), template)
	if err != nil || s.hole() {
		return err
	}
	return s.needTemplate(c, t)
}

func (s *server) createStrategy(c *Call) (any, error) {
	var in strategyInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	if in.Template <= 0 {
		return nil, badField("tpl_id", "tpl_id is required")
	}
	wrong, _ := in.check()
	if err := wrong.err(); err != nil {
		return nil, err
	}
	if err := s.ownStrategies(c, in.Template); err != nil {
		return nil, err
	}
	st := in.row()
	var err error
	if st.ID, err = s.Portal.CreateStrategy(c.Ctx(), st); err != nil {
		return nil, err
	}
	c.Audit(st.ID, st)
	return st, nil
}

func (s *server) updateStrategy(c *Call) (any, error) {
	var in strategyInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	old, err := s.Portal.Strategy(c.Ctx(), in.ID)
	if err != nil {
		return nil, err
	}
	in.Template = old.Template
	in.keep(old)
	wrong, _ := in.check()
	if err := wrong.err(); err != nil {
		return nil, err
	}
	if err := s.ownStrategies(c, old.Template); err != nil {
		return nil, err
	}
	c.Before(old)
	c.Audit(old.ID, in.row())
	if err := s.Portal.UpdateStrategy(c.Ctx(), in.row()); err != nil {
		return nil, err
	}
	return fmt.Sprintf("strategy:%d has been updated", old.ID), nil
}

func (s *server) deleteStrategy(c *Call) (any, error) {
	st, err := s.strategyOfPath(c)
	if err == nil {
		err = s.ownStrategies(c, st.Template)
	}
	if err != nil {
		return nil, err
	}
	c.Before(st)
	c.Audit(st.ID, nil)
	if err := s.Portal.DeleteStrategy(c.Ctx(), st.ID); err != nil {
		return nil, err
	}
	return fmt.Sprintf("strategy:%d has been deleted", st.ID), nil
}

// checkStrategy says what is wrong with a strategy before it is saved, and which
// series it would watch.
func (s *server) checkStrategy(c *Call) (any, error) {
	var in strategyInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	wrong, warnings := in.check()
	answer := struct {
		OK       bool     `json:"ok"`
		Errors   problems `json:"errors"`
		Warnings []string `json:"warnings"`
		Matches  int      `json:"matches"`
		More     bool     `json:"more"`
		Examples []string `json:"examples"`
	}{len(wrong) == 0, wrong, warnings, 0, false, []string{}}
	if wrong == nil {
		answer.Errors = problems{}
	}
	if warnings == nil {
		answer.Warnings = []string{}
	}
	if in.Metric == "" || in.texts() { // texts are in no graph, which would know them
		return answer, nil
	}
	series, more, err := s.watched(c, in.Metric, model.RuleTags(in.Tags))
	if err != nil {
		return nil, err
	}
	answer.Matches, answer.More = len(series), more
	answer.Examples = append(answer.Examples, series[:min(5, len(series))]...)
	return answer, nil
}

// maxWatched bounds the series that are looked at for a rule that is being written.
const maxWatched = 2000

// watched returns series, endpoint/counter, that a rule over metric and tags watches;
// more says that there may be others.
func (s *server) watched(c *Call, metric string, tags map[string]string) (series []string, more bool, err error) {
	add := func(endpoint, counter string) {
		name, rest, _ := strings.Cut(counter, "/")
		if name == metric && verdict.Match(tags, model.ParseTags(rest)) {
			series = append(series, endpoint+"/"+counter)
		}
	}
	found := s.Graphs.SearchEndpoints(c.Ctx(), model.GraphSearchParam{Tags: []string{metric}, Limit: maxWatched})
	names := make([]string, len(found.Rows))
	for i, e := range found.Rows {
		names[i] = e.Endpoint
	}
	counters := s.Graphs.SearchCounters(c.Ctx(), model.GraphSearchParam{Endpoints: names, Match: counterPattern(metric, tags), Limit: maxWatched})
	if found.Complete() && counters.Complete() {
		for _, r := range counters.Rows {
			add(r.Endpoint, r.Counter)
		}
		return series, found.Total > len(found.Rows) || counters.Total > len(counters.Rows), nil
	}
	// A node is away or can not search: the index that all of them write has the rest.
	ctx, cancel := context.WithTimeout(c.Ctx(), s.searchTime())
	defer cancel()
	rows, err := s.Portal.SeriesOfMetric(ctx, metric, maxWatched)
	if err != nil {
		return nil, false, s.tooSlow(c, ctx, err)
	}
	for _, r := range rows {
		add(r.Endpoint, r.Counter)
	}
	return series, len(rows) == maxWatched, nil
}

// counterPattern is a regular expression for the counters of a metric that have what
// the tags demand. A blank would end it.
func counterPattern(metric string, tags map[string]string) string {
	quote := func(text string) string { return strings.ReplaceAll(regexp.QuoteMeta(text), " ", `\x20`) }
	words := []string{"^" + quote(metric) + "(/|$)"}
	for k, v := range tags {
		if !strings.HasPrefix(k, "^") && len(words) < 16 {
			words = append(words, "[/,]"+quote(k+"="+v)+"(,|$)")
		}
	}
	return strings.Join(words, " ")
}

// --- expressions ---------------------------------------------------------------------

func (s *server) expressions(c *Call) (any, error) {
	limit, offset, err := c.page()
	if err != nil {
		return nil, err
	}
	return s.Portal.Expressions(c.Ctx(), limit, offset)
}

func (s *server) expressionOfPath(c *Call) (*portal.Expression, error) {
	return ofPath(c, "eid", "an expression", s.Portal.Expression)
}

func (s *server) expression(c *Call) (any, error) {
	e, err := s.expressionOfPath(c)
	if err != nil {
		return nil, err
	}
	a, err := s.Portal.Action(c.Ctx(), e.ActionID)
	if err != nil && !errors.Is(err, portal.ErrNotFound) {
		return nil, err
	}
	return map[string]any{"expression": e, "action": a}, nil
}

func (s *server) createExpression(c *Call) (any, error) {
	var in expressionInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	e, a, err := in.rows(portal.Action{})
	if err == nil {
		err = s.checkAction(c, &a)
	}
	if err != nil {
		return nil, err
	}
	e.CreateUser = c.Caller.Name
	if e.ID, e.ActionID, err = s.Portal.CreateExpression(c.Ctx(), e, a); err != nil {
		return nil, err
	}
	c.Audit(e.ID, map[string]any{"expression": e, "action": a})
	return "expression created", nil
}

func (s *server) updateExpression(c *Call) (any, error) {
	var in expressionInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	old, err := s.Portal.Expression(c.Ctx(), in.ID)
	if err == nil {
		err = s.needExpression(c, old)
	}
	if err != nil {
		return nil, err
	}
	before, err := s.Portal.Action(c.Ctx(), old.ActionID)
	if err != nil && !errors.Is(err, portal.ErrNotFound) {
		return nil, err
	}
	e, a, err := in.rows(before)
	if err == nil {
		err = s.checkAction(c, &a)
	}
	if err != nil {
		return nil, err
	}
	c.Before(old)
	c.Audit(e.ID, map[string]any{"expression": e, "action": a})
	if err := s.Portal.UpdateExpression(c.Ctx(), e, a); err != nil {
		return nil, err
	}
	return "expression:" + strconv.FormatInt(e.ID, 10) + " has been updated", nil
}

func (s *server) deleteExpression(c *Call) (any, error) {
	e, err := s.expressionOfPath(c)
	if err == nil {
		err = s.needExpression(c, e)
	}
	if err != nil {
		return nil, err
	}
	c.Before(e)
	c.Audit(e.ID, nil)
	if err := s.Portal.DeleteExpression(c.Ctx(), e.ID); err != nil {
		return nil, err
	}
	return fmt.Sprintf("expression:%d has been deleted", e.ID), nil
}
