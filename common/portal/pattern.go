package portal

import (
	"regexp/syntax"
	"strings"
)

// A Pattern is a regular expression that a text must match somewhere, without
// regard to case, or must not.
type Pattern struct {
	Expr string
	Not  bool
}

// maxPattern bounds one regular expression, in bytes.
const maxPattern = 512

// ParsePatterns splits q at blanks into regular expressions that must all hold.
// With negation, one that begins with "!" must not match. An expression that is
// malformed or too long is an *InvalidError, so that none reaches a server that
// might choke on it. No expression at all gives none.
func ParsePatterns(q string, negation bool) ([]Pattern, error) {
	var all []Pattern
	for expr := range strings.FieldsSeq(q) {
		p := Pattern{Expr: expr}
		if negation {
			p.Expr, p.Not = strings.CutPrefix(expr, "!")
		}
		if p.Expr == "" {
			continue
		}
		if len(p.Expr) > maxPattern {
			return nil, invalid("a regular expression is longer than %d bytes", maxPattern)
		}
		if _, err := syntax.Parse(p.Expr, syntax.Perl); err != nil {
			return nil, invalid("regular expression %q: %v", p.Expr, err)
		}
		all = append(all, p)
		if len(all) > 32 {
			return nil, invalid("more than 32 regular expressions")
		}
	}
	return all, nil
}

// conditions collects the terms of a WHERE, which must all hold, with their
// arguments.
type conditions struct {
	terms []string
	args  []any
}

func (c *conditions) add(term string, args ...any) {
	c.terms = append(c.terms, term)
	c.args = append(c.args, args...)
}

func (c *conditions) patterns(column string, all []Pattern) {
	for _, p := range all {
		if p.Not {
			c.add("NOT ("+column+" REGEXP ?)", p.Expr)
		} else {
			c.add(column+" REGEXP ?", p.Expr)
		}
	}
}

// sql returns " WHERE …", or nothing when there is no term.
func (c *conditions) sql() string {
	if len(c.terms) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.terms, " AND ")
}
