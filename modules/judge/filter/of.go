package filter

import "falcon/common/model"

// RuleOf returns the rule that an event was made by, to be known by its Key; it is not
// ready to judge with. The event has a Strategy or an Expression.
func RuleOf(e *model.Event) *Rule {
	if e.Strategy != nil {
		action := 0
		if e.Strategy.Tpl != nil {
			action = e.Strategy.Tpl.ActionId
		}
		return &Rule{Strategy: e.Strategy, id: e.Strategy.Id, Key: key("s", e.Strategy.Id, action)}
	}
	return &Rule{Expression: e.Expression, id: e.Expression.Id, Key: key("e", e.Expression.Id, e.Expression.ActionId)}
}
