package v1

import (
	"falcon/common/expr"
	"falcon/common/portal"
)

// texts says whether the rule is about texts.
func (in *strategyInput) texts() bool { return in.Values != nil && *in.Values == portal.ValueString }

// keep takes from the saved strategy what a client of stock does not say.
func (in *strategyInput) keep(old *portal.Strategy) {
	if in.Values == nil {
		in.Values = &old.ValueType
	}
	if in.RightString == nil {
		in.RightString = &old.RightString
	}
}

// numbers checks that a rule that is not about texts says nothing else.
func (p *problems) numbers(in *strategyInput) {
	if in.Values == nil {
		return
	}
	switch *in.Values {
	case "", "number":
	default:
		p.add("value_type", "value_type %q is unknown, write string for a rule about texts, or leave it out", *in.Values)
	}
}

// textCondition checks a condition over texts and writes it as it is saved: with the
// operator that a function without one is read by, and without a threshold.
func (p *problems) textCondition(in *strategyInput) (warnings []string) {
	in.RightValue = portal.RightOfTexts
	if in.RightString == nil {
		in.RightString = new(string)
	}
	f, err := expr.ParseTextFunc(in.Func)
	switch {
	case in.Func == "":
		p.add("func", "func is required, such as all(#3)")
	case err != nil:
		p.add("func", "%v", err)
	case f.Counts():
		in.Op = ">="
	case !f.Compares():
		in.Op, *in.RightString = "!=", ""
	}
	var opErr error
	if err == nil && in.Func != "" {
		if opErr = f.CheckTextOp(in.Op); opErr != nil {
			p.add("op", "%v", opErr)
		}
	}
	if err == nil && opErr == nil {
		if _, err := expr.NewTextRule(f, in.Op, *in.RightString); err != nil {
			p.add("right_string", "%v", err)
		}
		if w := f.Window(); w > expr.DefaultRemain {
			warnings = append(warnings, f.String()+" looks further back than the points that judges keep by themselves: it waits for as many after it is saved")
		}
	}
	return append(warnings, p.steps(in.MaxStep, in.Priority)...)
}
