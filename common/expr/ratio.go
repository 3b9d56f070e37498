package expr

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Formula is one side of an aggregator (contract query 4.1). The zero Formula is
// worth 0 of every host.
type Formula struct {
	kind  formulaKind
	terms []term  // of a sum or a comparison
	cmp   string  // of a comparison: > < = >= <=
	limit float64 // what a comparison compares with, or the number itself
}

type formulaKind uint8

const (
	number     formulaKind = iota // the same of every host, and not added up
	hosts                         // $#, how many hosts there are
	counters                      // $(a)+$(b)-$(c)
	comparison                    // ($(a)+$(b))>80: how many hosts it holds of
)

type term struct {
	counter string
	minus   bool
}

// howFormulas names every form, for errors.
const howFormulas = "write $#, a whole number, $(counter), $(a)+$(b)-$(c), $(a)>80 or ($(a)+$(b))>80"

// ParseFormula reads one side of an aggregator. Blanks and line ends may stand
// anywhere, also inside of counters, and are left out. An error names the piece that
// is wrong and how it is written.
func ParseFormula(text string) (Formula, error) {
	for _, wide := range []string{"（", "）"} {
		if strings.Contains(text, wide) {
			return Formula{}, fmt.Errorf("%q is a full-width bracket: write ( and )", wide)
		}
	}
	s := strings.NewReplacer(" ", "", "\r", "", "\n", "", "\t", "").Replace(text)
	switch {
	case s == "":
		return Formula{}, errors.New("it is empty: " + howFormulas)
	case s == "$#":
		return Formula{kind: hosts}, nil
	case strings.Trim(s, "0123456789") == "":
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return Formula{}, fmt.Errorf("the number %s is too large", piece(s))
		}
		return Formula{kind: number, limit: v}, nil
	}
	if inner, ok := strings.CutPrefix(s, "("); ok {
		terms, rest, err := parseSum(inner)
		if err != nil {
			return Formula{}, err
		}
		rest, ok = strings.CutPrefix(rest, ")")
		switch {
		case !ok && rest == "":
			return Formula{}, fmt.Errorf("the bracket before %s is not closed: write )", piece(inner))
		case !ok:
			return Formula{}, fmt.Errorf("%s can not stand in a bracket: only counters, joined by + and -, can", piece(rest))
		case rest == "":
			return Formula{}, errors.New("a bracket is compared with a number: write >80 behind it, or leave the bracket out")
		}
		return parseComparison(terms, rest)
	}
	terms, rest, err := parseSum(s)
	switch {
	case err != nil:
		return Formula{}, err
	case rest == "":
		return Formula{kind: counters, terms: terms}, nil
	case len(terms) > 1 && comparator(rest) != "":
		return Formula{}, fmt.Errorf("%s compares a sum: put brackets around the sum, ($(a)+$(b))>80", piece(rest))
	}
	return parseComparison(terms, rest)
}

// parseSum reads counters joined by + and -, and returns what follows them.
func parseSum(s string) (terms []term, rest string, err error) {
	minus := false
	for {
		inner, ok := strings.CutPrefix(s, "$(")
		if !ok {
			return nil, "", badTerm(s, len(terms) > 0)
		}
		end := strings.IndexAny(inner, "()")
		switch {
		case end < 0:
			return nil, "", fmt.Errorf("the bracket of %s is not closed: write )", piece(s))
		case inner[end] == '(':
			return nil, "", fmt.Errorf("%s: a counter can not have a bracket in it", piece(s))
		case end == 0:
			return nil, "", fmt.Errorf("%s names no counter: write its metric, and its tags behind a slash, into the bracket", piece(s))
		}
		terms, s = append(terms, term{inner[:end], minus}), inner[end+1:]
		if s == "" || s[0] != '+' && s[0] != '-' {
			return terms, s, nil
		}
		minus, s = s[0] == '-', s[1:]
	}
}

// badTerm says what is wrong with s, which does not begin with a counter.
func badTerm(s string, joined bool) error {
	switch {
	case s == "":
		return errors.New("a counter is missing at the end: write $(counter) behind + or -")
	case strings.HasPrefix(s, "$#"):
		return fmt.Errorf("%s: $# stands alone, it can not be added or compared", piece(s))
	case s[0] == '+' || s[0] == '-':
		return fmt.Errorf("%s begins with a sign: write $(counter) before it", piece(s))
	case s[0] >= '0' && s[0] <= '9' && joined:
		return fmt.Errorf("%s: numbers and counters can not be added: move the number behind a comparison", piece(s))
	case s[0] >= '0' && s[0] <= '9':
		return fmt.Errorf("%s: a number stands alone and is whole, or stands behind a comparison", piece(s))
	case s[0] == '(':
		return fmt.Errorf("%s: brackets do not stand in brackets, and only before a comparison", piece(s))
	}
	return fmt.Errorf("%s is no counter: %s", piece(s), howFormulas)
}

// comparator returns the comparison that s begins with, or "".
func comparator(s string) string {
	for _, c := range []string{">=", "<=", ">", "<", "="} {
		if strings.HasPrefix(s, c) {
			return c
		}
	}
	return ""
}

func parseComparison(terms []term, s string) (Formula, error) {
	cmp := comparator(s)
	if cmp == "" {
		return Formula{}, fmt.Errorf("%s can not follow a counter: counters are joined by + and -, and compared by > < = >= <=", piece(s))
	}
	text := s[len(cmp):]
	whole, fraction, dot := strings.Cut(text, ".")
	if !digits(whole) || dot && !digits(fraction) {
		return Formula{}, fmt.Errorf("%s: %s is compared with a number such as 80 or 0.5, without a sign", piece(s), cmp)
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return Formula{}, fmt.Errorf("the number %s is too large", piece(text))
	}
	return Formula{comparison, terms, cmp, v}, nil
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// piece quotes the beginning of s.
func piece(s string) string {
	const most = 40
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most]) + "…"
	}
	return strconv.Quote(s)
}

// Constant says that the formula names no counter.
func (f Formula) Constant() bool { return f.kind == number || f.kind == hosts }

// String returns the formula as it is written, without blanks.
func (f Formula) String() string {
	switch f.kind {
	case number:
		return strconv.FormatFloat(f.limit, 'f', -1, 64)
	case hosts:
		return "$#"
	}
	var b strings.Builder
	for i, t := range f.terms {
		switch {
		case t.minus:
			b.WriteByte('-')
		case i > 0:
			b.WriteByte('+')
		}
		b.WriteString("$(" + t.counter + ")")
	}
	if f.kind == counters {
		return b.String()
	}
	sum := b.String()
	if len(f.terms) > 1 {
		sum = "(" + sum + ")"
	}
	return sum + f.cmp + strconv.FormatFloat(f.limit, 'f', -1, 64)
}

// of returns what a host is worth to a formula with counters.
func (f Formula) of(values []float64, at []int) (v float64) {
	for i, t := range f.terms {
		if t.minus {
			v -= values[at[i]]
		} else {
			v += values[at[i]]
		}
	}
	if f.kind == counters {
		return v
	}
	// Unlike in rules, = is exact, as in stock.
	holds := false
	switch f.cmp {
	case ">":
		holds = v > f.limit
	case "<":
		holds = v < f.limit
	case "=":
		holds = v == f.limit
	case ">=":
		holds = v >= f.limit
	case "<=":
		holds = v <= f.limit
	}
	if holds {
		return 1
	}
	return 0
}

// A Ratio is an aggregator: what all hosts are worth to one formula, divided by what
// they are worth to another.
type Ratio struct {
	above, below     Formula
	names            []string
	aboveAt, belowAt []int // the places of the terms' counters in names
}

// ParseRatio reads both sides of an aggregator. An error begins with the side that is
// wrong.
func ParseRatio(numerator, denominator string) (*Ratio, error) {
	above, err := ParseFormula(numerator)
	if err != nil {
		return nil, fmt.Errorf("numerator: %w", err)
	}
	below, err := ParseFormula(denominator)
	if err != nil {
		return nil, fmt.Errorf("denominator: %w", err)
	}
	return NewRatio(above, below)
}

// NewRatio makes an aggregator of its sides, one of which must name a counter.
func NewRatio(numerator, denominator Formula) (*Ratio, error) {
	if numerator.Constant() && denominator.Constant() {
		return nil, errors.New("neither numerator nor denominator names a counter: write $(counter) in one of them")
	}
	r := &Ratio{above: numerator, below: denominator}
	place := map[string]int{}
	find := func(f Formula) (at []int) {
		for _, t := range f.terms {
			i, ok := place[t.counter]
			if !ok {
				i = len(r.names)
				place[t.counter], r.names = i, append(r.names, t.counter)
			}
			at = append(at, i)
		}
		return at
	}
	r.aboveAt, r.belowAt = find(numerator), find(denominator)
	return r, nil
}

// Counters returns every counter that a host must have, each once, in the order in
// which they are written.
func (r *Ratio) Counters() []string { return slices.Clone(r.names) }

// String returns both sides with a bar between them.
func (r *Ratio) String() string { return r.above.String() + " / " + r.below.String() }

// Why an aggregator has no value.
var (
	ErrNoHost = errors.New("no host has all counters")
	ErrZero   = errors.New("the denominator is 0")
	ErrRange  = errors.New("the result is no finite number")
)

// Eval computes the aggregator. hosts has the values of each valid host, in the order
// of Counters: a host that lacks one is left out by the caller. Without a value the
// error is ErrNoHost, ErrZero or ErrRange.
func (r *Ratio) Eval(hosts [][]float64) (float64, error) {
	if len(hosts) == 0 {
		return 0, ErrNoHost
	}
	above, below := r.above.total(hosts, r.aboveAt), r.below.total(hosts, r.belowAt)
	if below == 0 {
		return 0, ErrZero
	}
	v := above / below
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, ErrRange
	}
	return v, nil
}

func (f Formula) total(of [][]float64, at []int) (v float64) {
	switch f.kind {
	case number:
		return f.limit
	case hosts:
		return float64(len(of))
	}
	for _, values := range of {
		v += f.of(values, at)
	}
	return v
}
