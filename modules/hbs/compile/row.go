package compile

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"falcon/common/expr"
	"falcon/common/model"
	"falcon/common/portal"
)

// strategy reads a row, or says why it can not.
func strategy(s portal.RuleStrategy) (r *rule, reason string) {
	right, reason, texts := 0.0, "", s.ValueType == portal.ValueString
	if texts {
		reason = aboutTexts(s)
	} else {
		right, reason = threshold(s.Func, s.RightValue)
	}
	if s.Metric == "" {
		reason = "metric is empty"
	}
	if reason != "" {
		return nil, reason
	}
	tags := model.RuleTags(s.Tags)
	watches := s.Metric + "/" + model.SortedTags(tags)
	if texts {
		watches += "/\x00texts" // a rule about texts replaces none about numbers
	}
	return &rule{
		rule: &model.Strategy{
			Id: s.ID, Metric: s.Metric, Tags: tags, Func: s.Func, Operator: s.Op, RightValue: right,
			MaxStep: s.MaxStep, Priority: s.Priority, Note: s.Note,
			ValueType: s.ValueType, RightString: s.RightString,
		},
		watches: watches, tpl: s.Template, written: s.Tags,
	}, ""
}

// aboutTexts says what is wrong with a strategy about texts, "" for nothing.
func aboutTexts(s portal.RuleStrategy) string {
	f, err := expr.ParseTextFunc(s.Func)
	if err != nil {
		return fmt.Sprintf("func: %v", err)
	}
	if err := f.CheckTextOp(s.Op); err != nil {
		return fmt.Sprintf("op: %v", err)
	}
	if _, err := expr.NewTextRule(f, s.Op, s.RightString); err != nil {
		return fmt.Sprintf("right_string: %v", err)
	}
	return ""
}

// threshold checks what a rule compares with. A function that nobody can read would
// end a stock judge, so such a rule never leaves hbs.
func threshold(fn, right string) (float64, string) {
	v, err := strconv.ParseFloat(right, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Sprintf("right_value %q is no number", right)
	}
	if _, err := expr.ParseFunc(fn); err != nil {
		return 0, fmt.Sprintf("func: %v", err)
	}
	return v, ""
}

// expression reads a row, each(metric=M k=v …), or says why it can not.
func expression(e portal.RuleExpression) (x *model.Expression, reason string) {
	_, rest, ok := strings.Cut(e.Expression, "(")
	inner, _, closed := strings.Cut(rest, ")")
	if !ok || !closed {
		return nil, fmt.Sprintf("%q has no parentheses, write each(metric=… tag=…)", e.Expression)
	}
	x = &model.Expression{
		Id: e.ID, Func: e.Func, Operator: e.Op, MaxStep: e.MaxStep, Priority: e.Priority, Note: e.Note, ActionId: e.Action,
		Tags: map[string]string{},
	}
	parts := strings.Fields(inner)
	positive := false
	for _, p := range parts {
		k, v, ok := strings.Cut(p, "=")
		switch {
		case !ok || strings.Contains(v, "="):
			return nil, fmt.Sprintf("%q in the expression is not of the form key=value", p)
		case k == "metric":
			x.Metric = v
			continue
		}
		if inverted := strings.HasPrefix(k, "^"); !inverted {
			positive = true
		} else if old, ok := x.Tags[k]; ok {
			v = old + "," + v
		}
		x.Tags[k] = v
	}
	switch {
	case x.Metric == "":
		return nil, "the expression names no metric, write metric=… into it"
	case !positive:
		return nil, "the expression has no tag that must match, it would watch everything"
	}
	x.RightValue, reason = threshold(e.Func, e.RightValue)
	return x, reason
}

// maintained says whether a host is in maintenance.
func maintained(h portal.RuleHost, now time.Time) bool {
	return h.MaintainBegin <= now.Unix() && now.Unix() <= h.MaintainEnd
}

// hours are those in which a strategy is in force, HH:MM each.
type hours struct{ begin, end string }

// contain is stock's rule: texts are compared, both ends are included, an end before
// the begin is on the next day (contract alerting 3.4).
func (h hours) contain(now time.Time) bool {
	at := now.Format("15:04")
	switch {
	case h.begin == "" && h.end == "":
		return true
	case h.begin <= h.end:
		return h.begin <= at && at <= h.end
	case h.end == "":
		return at >= h.begin
	}
	return at >= h.begin || at <= h.end
}

// next returns the next moment at which contain may change; zero for never. That is
// the begin, and the minute after the end.
func (h hours) next(now time.Time) (next time.Time) {
	if h.begin == "" && h.end == "" {
		return next
	}
	for i, text := range []string{h.begin, h.end} {
		hour, minute := 0, 0
		if text != "" {
			t, err := time.Parse("15:04", text)
			if err != nil && text != "24:00" {
				continue
			}
			hour, minute = t.Hour(), t.Minute()
			if text == "24:00" {
				continue // midnight, where the day's begin is
			}
		}
		for day := range 2 {
			at := time.Date(now.Year(), now.Month(), now.Day()+day, hour, minute+i, 0, 0, now.Location())
			if at.After(now) && (next.IsZero() || at.Before(next)) {
				next = at
			}
		}
	}
	// A window that is open until midnight ends there.
	if midnight := time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, now.Location()); next.IsZero() || midnight.Before(next) {
		next = midnight
	}
	return next
}
