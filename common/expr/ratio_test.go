package expr

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

// Every form of contract query 4.1, and what it reads as.
func TestParseFormula(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"$#", "$#"},
		{" $ # ", "$#"},
		{"1", "1"},
		{"1210", "1210"},
		{"0", "0"},
		{"$(cpu.busy)", "$(cpu.busy)"},
		{"$(cpu.busy)+$(cpu.idle)-$(cpu.nice)", "$(cpu.busy)+$(cpu.idle)-$(cpu.nice)"},
		{"$(a) +\r\n\t$(b)", "$(a)+$(b)"},
		{"$(qps/module=judge,project=falcon)", "$(qps/module=judge,project=falcon)"},
		{"$(qps/module=judge, project=falcon)", "$(qps/module=judge,project=falcon)"},
		{"$(a-b/c=>d)-$(a-b)", "$(a-b/c=>d)-$(a-b)"},
		{"$(a)>90", "$(a)>90"},
		{"$(a)<90", "$(a)<90"},
		{"$(a)=90", "$(a)=90"},
		{"$(cpu.busy)>=80", "$(cpu.busy)>=80"},
		{"$(a) <= 0.25", "$(a)<=0.25"},
		{"($(a))>80", "$(a)>80"},
		{"($(a)+$(b)-$(c))>80", "($(a)+$(b)-$(c))>80"},
		{"($(cpu.idle)+$(cpu.busy))=100", "($(cpu.idle)+$(cpu.busy))=100"},
	} {
		f, err := ParseFormula(tc.in)
		if err != nil || f.String() != tc.want {
			t.Errorf("ParseFormula(%q) = %q, %v; want %q", tc.in, f, err, tc.want)
		}
		if constant := !strings.Contains(tc.want, "("); f.Constant() != constant {
			t.Errorf("ParseFormula(%q) names no counter: %v, want %v", tc.in, f.Constant(), constant)
		}
	}
}

// Everything else is refused: the error quotes the piece and says how it is written.
func TestParseFormulaRefuses(t *testing.T) {
	for _, tc := range []struct{ in, piece, advice string }{
		{"", "empty", "write $#"},
		{" \t\r\n", "empty", "write $#"},
		{"$（a)", `"（"`, "write ( and )"},
		{"$(a）", `"）"`, "write ( and )"},
		{"-1", `"-1"`, "begins with a sign"},
		{"+$(a)", `"+$(a)"`, "begins with a sign"},
		{"1.5", `"1.5"`, "whole"},
		{"1e3", `"1e3"`, "whole"},
		{"cpu.busy", `"cpu.busy"`, "is no counter: write $#"},
		{"$", `"$"`, "is no counter"},
		{"$()", `"$()"`, "names no counter"},
		{"$( )", `"$()"`, "names no counter"},
		{"$(a", `"$(a"`, "not closed"},
		{"$((a)", `"$((a)"`, "bracket in it"},
		{"$(a))", `")"`, "can not follow a counter"},
		{"$(a)$(b)", `"$(b)"`, "joined by + and -"},
		{"$(a)*$(b)", `"*$(b)"`, "joined by + and -"},
		{"$(a)/$(b)", `"/$(b)"`, "joined by + and -"},
		{"$(a)+", "at the end", "write $(counter)"},
		{"$(a)++$(b)", `"+$(b)"`, "begins with a sign"},
		{"$(a)+60", `"60"`, "can not be added"},
		{"60+$(a)", `"60+$(a)"`, "stands alone"},
		{"$(a)+$#", `"$#"`, "stands alone"},
		{"$#>1", `"$#>1"`, "stands alone"},
		{"$#+1", `"$#+1"`, "stands alone"},
		{"1>$(a)", `"1>$(a)"`, "stands alone"},
		{"$(a)+$(b)>40", `">40"`, "brackets around the sum"},
		{"$(a)>", `">"`, "compared with a number"},
		{"$(a)>-1", `">-1"`, "without a sign"},
		{"$(a)>+1", `">+1"`, "without a sign"},
		{"$(a)>.5", `">.5"`, "such as 80 or 0.5"},
		{"$(a)>5.", `">5."`, "such as 80 or 0.5"},
		{"$(a)>1.2.3", `">1.2.3"`, "compared with a number"},
		{"$(a)>0x10", `">0x10"`, "compared with a number"},
		{"$(a)>1e2", `">1e2"`, "compared with a number"},
		{"$(a)>inf", `">inf"`, "compared with a number"},
		{"$(a)>80%", `">80%"`, "compared with a number"},
		{"$(a)>$(b)", `">$(b)"`, "compared with a number"},
		{"$(a)==1", `"==1"`, "compared with a number"},
		{"$(a)=>1", `"=>1"`, "compared with a number"},
		{"$(a)<>1", `"<>1"`, "compared with a number"},
		{"$(a)!=1", `"!=1"`, "compared by > < = >= <="},
		{"($(a)+$(b))", "bracket", "write >80 behind it"},
		{"($(a)+$(b)-60)>100", `"60)>100"`, "can not be added"},
		{"($(a)+$(b)", `"$(a)+$(b)"`, "not closed"},
		{"($(a)>1)", `">1)"`, "can not stand in a bracket"},
		{"(($(a)))>1", `"($(a)))>1"`, "do not stand in brackets"},
		{"()>1", `")>1"`, "is no counter"},
		{"($#)>1", `"$#)>1"`, "stands alone"},
		{"($(a))+$(b)", `"+$(b)"`, "compared by"},
		{strings.Repeat("9", 400), `"999`, "too large"},
		{"$(a)>" + strings.Repeat("9", 400), `"999`, "too large"},
	} {
		f, err := ParseFormula(tc.in)
		if err == nil {
			t.Errorf("ParseFormula(%q) = %q, want an error", tc.in, f)
			continue
		}
		if s := err.Error(); !strings.Contains(s, tc.piece) || !strings.Contains(s, tc.advice) || len(s) > 250 {
			t.Errorf("ParseFormula(%q)\n says %s\n want %s and %s in it", tc.in, s, tc.piece, tc.advice)
		}
	}
}

func TestParseRatio(t *testing.T) {
	r, err := ParseRatio("($(a)+$(b))>25", "$(b)+$(c)-$(a)")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.Counters(), []string{"a", "b", "c"}; !slices.Equal(got, want) {
		t.Errorf("counters %v, want %v", got, want)
	}
	if got, want := r.String(), "($(a)+$(b))>25 / $(b)+$(c)-$(a)"; got != want {
		t.Errorf("it reads %q, want %q", got, want)
	}
	for _, tc := range []struct{ above, below, want string }{
		{"$(a", "$#", "numerator: "},
		{"$(a)", "$(b", "denominator: "},
		{"$#", "1", "neither numerator nor denominator names a counter"},
		{"1", "$#", "neither numerator nor denominator names a counter"},
		{"7", "7", "neither numerator nor denominator names a counter"},
	} {
		if _, err := ParseRatio(tc.above, tc.below); err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("ParseRatio(%q, %q): %v, want %s…", tc.above, tc.below, err, tc.want)
		}
	}
}

func TestRatioEval(t *testing.T) {
	inf := math.Inf(1)
	for _, tc := range []struct {
		above, below string
		hosts        [][]float64 // values in the order of the counters
		want         float64
		err          error
	}{
		{"$(a)", "$#", [][]float64{{10}, {20}}, 15, nil},
		{"$(a)", "1", [][]float64{{10}, {20}}, 30, nil},
		{"$(a)", "4", [][]float64{{10}, {20}}, 7.5, nil},
		{"$#", "$(a)", [][]float64{{1}, {3}}, 0.5, nil},
		{"6", "$(a)", [][]float64{{1}, {2}}, 2, nil},
		{"$(a)-$(b)+$(c)", "1", [][]float64{{10, 4, 1}, {1, 2, 3}}, 9, nil},
		{"$(a)-$(a)+$(a)", "$(a)", [][]float64{{3}, {4}}, 1, nil},
		{"$(a)", "$(b)", [][]float64{{1, 10}, {2, 20}}, 0.1, nil},
		{"$(a)>80", "$#", [][]float64{{80}, {81}, {90}, {0}}, 0.5, nil},
		{"$(a)>=80", "$#", [][]float64{{80}, {81}, {90}, {0}}, 0.75, nil},
		{"$(a)<80", "$#", [][]float64{{80}, {81}, {90}, {0}}, 0.25, nil},
		{"$(a)<=80", "$#", [][]float64{{80}, {81}, {90}, {0}}, 0.5, nil},
		{"$(a)=80", "1", [][]float64{{80}, {80.00001}, {79}}, 1, nil}, // exactly
		{"($(a)+$(b))=100", "$#", [][]float64{{40, 60}, {40, 61}}, 0.5, nil},
		{"($(a)-$(b))>0", "1", [][]float64{{2, 1}, {1, 2}, {3, 1}}, 2, nil},
		{"$(a)>1", "$(a)<=1", [][]float64{{0}, {1}, {2}}, 0.5, nil},
		{"$(a)", "$#", nil, 0, ErrNoHost},
		{"$(a)", "0", [][]float64{{1}}, 0, ErrZero},
		{"$(a)", "$(b)", [][]float64{{1, 1}, {1, -1}}, 0, ErrZero},
		{"$(a)", "$(b)>5", [][]float64{{1, 5}}, 0, ErrZero},
		{"$(a)", "$#", [][]float64{{inf}}, 0, ErrRange},
		{"$(a)", "$(b)", [][]float64{{math.MaxFloat64, 1e-300}}, 0, ErrRange},
		{"$(a)", "$#", [][]float64{{math.NaN()}}, 0, ErrRange},
	} {
		r, err := ParseRatio(tc.above, tc.below)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := r.Eval(tc.hosts); got != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("%v of %v = %v, %v; want %v, %v", r, tc.hosts, got, err, tc.want, tc.err)
		}
	}
}

// What is read is read again from what it says, and has a value or an error for
// anything that hosts may say.
func FuzzParseFormula(f *testing.F) {
	for _, s := range []string{"$#", "1210", "$(a)", "$(a)+$(b)-$(c)", "$(a)>=80", "($(a)+$(b))=100.5", "$((a)", "$(a)+$(b)>40", "($(a)-60)>1", "（", "$(\xff)>1", ""} {
		f.Add(s, 1.5, math.Inf(-1))
	}
	f.Fuzz(func(t *testing.T, s string, v, w float64) {
		a, err := ParseFormula(s)
		if err != nil {
			if err.Error() == "" {
				t.Errorf("ParseFormula(%q) does not say why", s)
			}
			return
		}
		b, err := ParseFormula(a.String())
		if err != nil || b.String() != a.String() {
			t.Fatalf("ParseFormula(%q) = %q, which reads as %q, %v", s, a, b, err)
		}
		below, _ := ParseFormula("$(x)")
		r, err := NewRatio(a, below)
		if err != nil {
			t.Fatal(err)
		}
		host := func(v float64) []float64 { return slices.Repeat([]float64{v}, len(r.Counters())) }
		got, err := r.Eval([][]float64{host(v), host(w)})
		if err == nil && (math.IsNaN(got) || math.IsInf(got, 0)) {
			t.Errorf("%v of %v and %v = %v", r, v, w, got)
		}
	})
}
