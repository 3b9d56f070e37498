package filter

import (
	"falcon/common/expr"
	"falcon/common/model"
)

// strategyRule reads a strategy, over numbers or over texts.
func strategyRule(s *model.Strategy) (*Rule, error) {
	if s.ValueType != model.ValueString {
		return newRule(s.Func, s.Operator, s.RightValue)
	}
	t, err := expr.ParseText(s.Func, s.Operator, s.RightString)
	if err != nil {
		return nil, err
	}
	return &Rule{Text: t}, nil
}

// Window returns how many values of a series the rule looks at.
func (r *Rule) Window() int {
	if r.Text != nil {
		return r.Text.Window()
	}
	return r.Func.Window()
}

// TextRules is Rules for a series of texts, which rules about numbers do not watch.
func (ix *Index) TextRules(dst []*Rule, endpoint, metric string, tags map[string]string) []*Rule {
	return ix.appendRules(dst, endpoint, metric, tags, true)
}

// WatchedText is Watched for a series of texts.
func (ix *Index) WatchedText(endpoint, metric string, tags map[string]string) bool {
	return ix.anyRule(endpoint, metric, tags, true)
}
