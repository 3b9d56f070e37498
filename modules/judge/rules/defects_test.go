package rules

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/model"
	"falcon/modules/judge/filter"
)

// Rules that take four minutes to come do come.
func TestDefectJ10LargeRulesLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &others{takes: 2 * time.Minute, methods: map[string]func(any) (any, error){
			"Hbs.GetStrategies": func(any) (any, error) {
				return model.StrategiesResponse{HostStrategies: []*model.HostStrategy{{Hostname: "h1", Strategies: []model.Strategy{idle(1)}}}}, nil
			},
			"Hbs.GetExpressions": func(any) (any, error) { return model.ExpressionResponse{}, nil },
		}}
		a := ask(t, o)
		pass(9 * time.Minute) // two methods that it does not have take their time, too
		a.want(t, "stock's list", "h1")
	})
}

// A thousand hosts share one copy of a strategy, from stock's list, from the answers for
// keys, and in what judges with it.
func TestDefectJ12OneCopyOfAStrategy(t *testing.T) {
	const hosts = 1000
	list := &model.StrategiesResponse{}
	said := map[string][]model.Strategy{}
	var a asked
	a.start()
	a.reset(byKey)
	for i := range hosts {
		host := fmt.Sprint("h", i)
		list.HostStrategies = append(list.HostStrategies, &model.HostStrategy{Hostname: host, Strategies: []model.Strategy{idle(1)}})
		said[host+"/cpu.idle"] = []model.Strategy{idle(1)}
	}
	for _, b := range []interface {
		Of(string) []*model.Strategy
	}{FromStock(list, &model.ExpressionResponse{}), a.merge(said)} {
		for i := range hosts {
			if b.Of(fmt.Sprint("h", i))[0] != b.Of("h0")[0] {
				t.Fatalf("h%d has a copy of its own", i)
			}
		}
	}
	b := FromStock(list, &model.ExpressionResponse{})
	ix := filter.New(b)
	if len(b.Sets) != 1 || len(b.Strategies) != 1 || ix.Rules(nil, "h1", "cpu.idle", nil)[0] != ix.Rules(nil, "h2", "cpu.idle", nil)[0] {
		t.Errorf("%d sets and %d strategies for %d hosts", len(b.Sets), len(b.Strategies), hosts)
	}
}

// An error is remembered by nobody: what was said before goes on, on every road.
func TestDefectF01AnErrorIsNoAnswer(t *testing.T) {
	for _, method := range []string{"HbsNew.GetFilteredStrategies", "Hbs.GetStrategies", "Hbs.GetOneEndStrategies"} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &others{methods: map[string]func(any) (any, error){"Hbs.GetExpressions": func(any) (any, error) { return model.ExpressionResponse{}, nil }}}
				hosts := []*model.HostStrategy{{Hostname: "h1", Strategies: []model.Strategy{idle(1)}}}
				switch method {
				case "HbsNew.GetFilteredStrategies":
					o.methods[method] = byKeys("h1/cpu.idle")
				case "Hbs.GetOneEndStrategies":
					hosts = nil
					o.methods[method] = func(any) (any, error) { return map[string]any{"strategies": []model.Strategy{idle(1)}}, nil }
					fallthrough
				default:
					o.methods["Hbs.GetStrategies"] = func(any) (any, error) { return model.StrategiesResponse{HostStrategies: hosts}, nil }
				}
				a := ask(t, o, "h1/cpu.idle")
				a.want(t, "at first", "h1")
				o.set(method, fails)
				pass(time.Hour)
				a.want(t, "after an hour of errors", "h1")
				if _, err := a.Heard(); err == nil {
					t.Error("nobody hears of the errors")
				}
			})
		})
	}
}
