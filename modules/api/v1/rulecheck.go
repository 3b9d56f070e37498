package v1

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"falcon/common/expr"
	"falcon/common/portal"
)

// A problem is why a field of a rule can not be as it is.
type problem struct {
	Field string `json:"field"`
	Text  string `json:"error"`
}

// problems collect what is wrong with a rule.
type problems []problem

func (p *problems) add(field, format string, args ...any) {
	*p = append(*p, problem{field, fmt.Sprintf(format, args...)})
}

// err returns the first problem as the answer of a route that saves.
func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return badField(p[0].Field, "%s", p[0].Text)
}

// fits adds what the column of a row can not hold.
func (p *problems) fits(err error) {
	if invalid, ok := errors.AsType[*portal.InvalidError](err); ok {
		p.add(invalid.Field, "%s", invalid.Reason)
	}
}

// rightValue is what stock takes for a threshold.
var rightValue = regexp.MustCompile(`^-?\d+(\.\d+)?$`)

// condition checks what strategies and expressions have in common, and returns what
// people should know of a condition that is well written.
func (p *problems) condition(fn, op, right string, maxStep *int, priority int) (warnings []string) {
	f, err := expr.ParseFunc(fn)
	switch {
	case fn == "":
		p.add("func", "func is required, such as all(#3)")
	case err != nil:
		p.add("func", "%v", err)
	}
	o, opErr := expr.ParseOp(op)
	switch {
	case op == "":
		p.add("op", "op is required, one of = == != < <= > >=")
	case opErr != nil:
		p.add("op", "%v", opErr)
	}
	threshold, rightErr := strconv.ParseFloat(right, 64)
	switch {
	case right == "":
		p.add("right_value", "right_value is required")
	case !rightValue.MatchString(right) || rightErr != nil:
		p.add("right_value", "right_value %q is no number, write digits such as -5 or 99.9", right)
	}
	muted := p.steps(maxStep, priority)
	if err == nil && opErr == nil && rightErr == nil {
		warnings = f.Warnings(o, threshold)
	}
	return append(warnings, muted...)
}

// steps checks how often and how loud a rule tells.
func (p *problems) steps(maxStep *int, priority int) (warnings []string) {
	switch {
	case maxStep == nil:
		p.add("max_step", "max_step is required: how often one problem is told, 0 for never")
	case *maxStep < 0 || *maxStep > 100:
		p.add("max_step", "max_step %d is not between 0 and 100", *maxStep)
	}
	if priority < 0 || priority > 9 {
		p.add("priority", "priority %d is not between 0 and 9", priority)
	}
	if maxStep != nil && *maxStep == 0 {
		warnings = append(warnings, "max_step 0: nobody is told, the rule is mute")
	}
	return warnings
}

// asks says what the tags of metrics that agents collect only on demand have to name.
var asks = map[string]string{
	"net.port.listen":  "which port, write port=80",
	"proc.num":         "which processes, write name=crond, cmdline=/usr/sbin/crond or both",
	"proc.coredump":    "which processes, write name=crond",
	"du.bs":            "which folder, write path=/var/log",
	"url.check.health": "which page and its seconds, write url=http://127.0.0.1:8080/health,timeout=3",
}

// tags checks the tags of a strategy: k=v,k=v with ^ before a key that excludes.
func (p *problems) tags(metric, text string) {
	plain := strings.ReplaceAll(text, " ", "")
	if plain == "" {
		if write := asks[metric]; write != "" {
			p.add("tags", "%s needs to know %s", metric, write)
		}
		return
	}
	for pair := range strings.SplitSeq(plain, ",") {
		k, v, ok := strings.Cut(pair, "=")
		switch {
		case !ok:
			p.add("tags", "%q in the tags is not of the form key=value; pairs have commas between them", pair)
		case strings.TrimPrefix(k, "^") == "":
			p.add("tags", "%q in the tags has no key before the =", pair)
		case v == "":
			p.add("tags", "%q in the tags has no value", pair)
		default:
			continue
		}
		return
	}
}

// hour checks a time of day.
func (p *problems) hour(field, text string) {
	if text == "" || field == "run_end" && text == "24:00" {
		return
	}
	h, m, ok := strings.Cut(text, ":")
	hour, err := strconv.Atoi(h)
	minute, err2 := strconv.Atoi(m)
	if !ok || len(h) != 2 || len(m) != 2 || err != nil || err2 != nil || hour < 0 || hour > 23 || minute < 0 || minute > 59 {
		p.add(field, "%s %q is no time of day, write 08:00 or leave it empty", field, text)
	}
}

// strategyInput is what people write into a strategy.
type strategyInput struct {
	ID         int64  `json:"id" form:"id" xml:"id"`
	Metric     string `json:"metric" form:"metric" xml:"metric"`
	Tags       string `json:"tags" form:"tags" xml:"tags"`
	MaxStep    *int   `json:"max_step" form:"max_step" xml:"max_step"`
	Priority   int    `json:"priority" form:"priority" xml:"priority"`
	Func       string `json:"func" form:"func" xml:"func"`
	Op         string `json:"op" form:"op" xml:"op"`
	RightValue string `json:"right_value" form:"right_value" xml:"right_value"`
	Note       string `json:"note" form:"note" xml:"note"`
	RunBegin   string `json:"run_begin" form:"run_begin" xml:"run_begin"`
	RunEnd     string `json:"run_end" form:"run_end" xml:"run_end"`
	Template   int64  `json:"tpl_id" form:"tpl_id" xml:"tpl_id"`
	// Values is string for a rule about texts, which compares with RightString. What is
	// missing stays as it is: stock's clients do not know them.
	Values      *string `json:"value_type" form:"value_type" xml:"value_type"`
	RightString *string `json:"right_string" form:"right_string" xml:"right_string"`
}

// check says what is wrong with a strategy, and what is odd about it.
func (in *strategyInput) check() (wrong problems, warnings []string) {
	for _, text := range []*string{&in.Metric, &in.Tags, &in.Func, &in.Op, &in.RightValue, &in.RunBegin, &in.RunEnd} {
		*text = strings.TrimSpace(*text)
	}
	switch {
	case in.Metric == "":
		wrong.add("metric", "metric is required")
	case strings.ContainsAny(in.Metric, " \t\r\n"):
		wrong.add("metric", "metric %q has a blank in it, no series has", in.Metric)
	}
	wrong.tags(in.Metric, in.Tags)
	if in.texts() {
		warnings = wrong.textCondition(in)
	} else {
		wrong.numbers(in)
		warnings = wrong.condition(in.Func, in.Op, in.RightValue, in.MaxStep, in.Priority)
	}
	wrong.hour("run_begin", in.RunBegin)
	wrong.hour("run_end", in.RunEnd)
	row := in.row()
	wrong.fits(row.Check())
	return wrong, warnings
}

func (in *strategyInput) row() portal.Strategy {
	s := portal.Strategy{
		ID: in.ID, Metric: in.Metric, Tags: in.Tags, Priority: in.Priority, Func: in.Func, Op: in.Op, RightValue: in.RightValue,
		Note: in.Note, RunBegin: in.RunBegin, RunEnd: in.RunEnd, Template: in.Template,
	}
	if in.texts() {
		s.ValueType, s.RightString = portal.ValueString, *in.RightString
	}
	if in.MaxStep != nil {
		s.MaxStep = *in.MaxStep
	}
	return s
}

// expressionText checks each(metric=M k=v …) and writes it with blanks between the
// pairs, as hbs reads it.
func (p *problems) expressionText(text string) string {
	const form = "write each(metric=qps srv=pay)"
	text = strings.TrimSpace(text)
	rest, ok := strings.CutPrefix(text, "each(")
	inner, closed := strings.CutSuffix(rest, ")")
	if !ok || !closed || strings.ContainsAny(inner, "()") {
		p.add("expression", "expression %q: %s", text, form)
		return text
	}
	pairs := strings.Fields(strings.NewReplacer(",", " ", ";", " ").Replace(inner))
	metric, positive := false, false
	for _, pair := range pairs {
		k, v, ok := strings.Cut(pair, "=")
		switch {
		case !ok || strings.Contains(v, "=") || v == "" || strings.TrimPrefix(k, "^") == "":
			p.add("expression", "%q in the expression is not of the form key=value", pair)
			return text
		case k == "metric":
			metric = true
		case !strings.HasPrefix(k, "^"):
			positive = true
		}
	}
	switch {
	case !metric:
		p.add("expression", "the expression names no metric, %s", form)
	case !positive:
		p.add("expression", "the expression has no tag that must match, it would watch everything: %s", form)
	}
	return "each(" + strings.Join(pairs, " ") + ")"
}

// actionInput is what people write into an action.
type actionInput struct {
	ID                 int64  `json:"id" form:"id" xml:"id"`
	Template           int64  `json:"tpl_id" form:"tpl_id" xml:"tpl_id"`
	UIC                string `json:"uic" form:"uic" xml:"uic"`
	URL                string `json:"url" form:"url" xml:"url"`
	Callback           int    `json:"callback" form:"callback" xml:"callback"`
	BeforeCallbackSMS  int    `json:"before_callback_sms" form:"before_callback_sms" xml:"before_callback_sms"`
	BeforeCallbackMail int    `json:"before_callback_mail" form:"before_callback_mail" xml:"before_callback_mail"`
	AfterCallbackSMS   int    `json:"after_callback_sms" form:"after_callback_sms" xml:"after_callback_sms"`
	AfterCallbackMail  int    `json:"after_callback_mail" form:"after_callback_mail" xml:"after_callback_mail"`
	// Channels that are missing stay as they are: stock's clients do not know them.
	Channels *string `json:"channels" form:"channels" xml:"channels"`
}

// row returns the action as it is stored in the place of old.
func (in *actionInput) row(old portal.Action) portal.Action {
	channels := old.Channels
	if in.Channels != nil {
		channels = strings.Join(splitList(*in.Channels), ",")
	}
	return portal.Action{
		ID: in.ID, UIC: strings.Join(splitList(in.UIC), ","), URL: strings.TrimSpace(in.URL), Callback: in.Callback,
		BeforeCallbackSMS: in.BeforeCallbackSMS, BeforeCallbackMail: in.BeforeCallbackMail,
		AfterCallbackSMS: in.AfterCallbackSMS, AfterCallbackMail: in.AfterCallbackMail,
		Channels: channels,
	}
}

// checkAction refuses an action that would tell nobody whom it names: teams and
// channels that do not exist, and a callback without a place to go.
func (s *server) checkAction(c *Call, a *portal.Action) error {
	missing, err := s.Portal.MissingTeams(c.Ctx(), splitList(a.UIC))
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return badField("uic", "there is no team %s", quotedList(missing))
	}
	if a.Callback == 1 && !strings.HasPrefix(a.URL, "http://") && !strings.HasPrefix(a.URL, "https://") {
		return badField("url", "url %q: a callback needs an address that begins with http:// or https://", a.URL)
	}
	names := splitList(a.Channels)
	if len(names) == 0 {
		return nil
	}
	if s.Portal.Alarms == nil {
		return badField("channels", "channels: this api has no database of alarms, set db.alarms in its configuration")
	}
	channels, err := s.Portal.AlarmChannels(c.Ctx())
	if err != nil {
		return err
	}
	for _, name := range names {
		if !hasChannel(channels, name) {
			return badField("channels", "there is no channel %q", name)
		}
	}
	return nil
}

func hasChannel(all []portal.AlarmChannel, name string) bool {
	for i := range all {
		if all[i].Name == name {
			return true
		}
	}
	return false
}

func quotedList(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = strconv.Quote(n)
	}
	return strings.Join(out, ", ")
}

// expressionInput is what people write into an expression.
type expressionInput struct {
	ID         int64  `json:"id" form:"id" xml:"id"`
	Expression string `json:"expression" form:"expression" xml:"expression"`
	Func       string `json:"func" form:"func" xml:"func"`
	Op         string `json:"op" form:"op" xml:"op"`
	RightValue string `json:"right_value" form:"right_value" xml:"right_value"`
	MaxStep    *int   `json:"max_step" form:"max_step" xml:"max_step"`
	Priority   int    `json:"priority" form:"priority" xml:"priority"`
	Note       string `json:"note" form:"note" xml:"note"`
	Pause      int    `json:"pause" form:"pause" xml:"pause"`
	Action     struct {
		UIC                []string `json:"uic" form:"uic" xml:"uic"`
		URL                string   `json:"url" form:"url" xml:"url"`
		Callback           int      `json:"callback" form:"callback" xml:"callback"`
		BeforeCallbackSMS  int      `json:"before_callback_sms" form:"before_callback_sms" xml:"before_callback_sms"`
		BeforeCallbackMail int      `json:"before_callback_mail" form:"before_callback_mail" xml:"before_callback_mail"`
		AfterCallbackSMS   int      `json:"after_callback_sms" form:"after_callback_sms" xml:"after_callback_sms"`
		AfterCallbackMail  int      `json:"after_callback_mail" form:"after_callback_mail" xml:"after_callback_mail"`
		Channels           *string  `json:"channels" form:"channels" xml:"channels"`
	} `json:"action" form:"action" xml:"action"`
}

// rows checks an expression and returns it with its action; old is the action before.
func (in *expressionInput) rows(old portal.Action) (portal.Expression, portal.Action, error) {
	for _, text := range []*string{&in.Func, &in.Op, &in.RightValue} {
		*text = strings.TrimSpace(*text)
	}
	e := portal.Expression{
		ID: in.ID, Func: in.Func, Op: in.Op, RightValue: in.RightValue, Priority: in.Priority, Note: in.Note, Pause: in.Pause,
	}
	var wrong problems
	if in.Expression == "" {
		wrong.add("expression", "expression is required")
	} else {
		e.Expression = wrong.expressionText(in.Expression)
	}
	wrong.condition(in.Func, in.Op, in.RightValue, in.MaxStep, in.Priority)
	if in.MaxStep != nil {
		e.MaxStep = *in.MaxStep
	}
	if in.Pause != 0 && in.Pause != 1 {
		wrong.add("pause", "pause is %d, write 1 for yes or 0 for no", in.Pause)
	}
	if in.Action.UIC == nil {
		wrong.add("action.uic", "action.uic is required: the teams that are told")
	}
	wrong.fits(e.Check())
	x := &in.Action
	a := actionInput{
		UIC: strings.Join(x.UIC, ","), URL: x.URL, Callback: x.Callback, BeforeCallbackSMS: x.BeforeCallbackSMS, BeforeCallbackMail: x.BeforeCallbackMail,
		AfterCallbackSMS: x.AfterCallbackSMS, AfterCallbackMail: x.AfterCallbackMail, Channels: x.Channels,
	}
	return e, a.row(old), wrong.err()
}
