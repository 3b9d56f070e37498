package hbs

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/rpc"
	"falcon/modules/hbs/compile"
)

// disks is a fleet of three hosts: h2 is in maintenance, and disks are watched by tags.
func disks() *memory {
	m := fleet(3)
	m.rows.Hosts[2].MaintainBegin, m.rows.Hosts[2].MaintainEnd = 1, 1<<40
	add := func(id int, metric, tags string) {
		m.rows.Strategies = append(m.rows.Strategies, portal.RuleStrategy{ID: id, Metric: metric, Tags: tags, Func: "all(#1)", Op: "<", RightValue: "5", MaxStep: 3, Template: 1})
	}
	add(2, "df.free", "mount=/")
	add(3, "df.free", "^mount=/dev/shm,^mount=/run")
	add(4, "df.never", "mount=/,^mount=/")
	add(5, "a/b", "")
	return m
}

func ids(all []*model.Strategy) string {
	var out []string
	for _, s := range all {
		out = append(out, strconv.Itoa(s.Id))
	}
	return strings.Join(out, " ")
}

var codecs = []rpc.Codec{rpc.JSON, rpc.Gob, rpc.Msgpack, rpc.GoRPC}

// A judge that asks for endpoints and metrics gets those that have strategies, in
// every codec.
func TestGetFilteredStrategies(t *testing.T) {
	_, addr := serving(t, disks(), nil)
	want := map[string]string{
		"h0/cpu.idle": "1", "h1/cpu.idle": "1", "h0/df.free": "2 3", "h0/a/b": "5",
		"h0/df.free/fstype=ext4,mount=/": "2 3", "h0/df.free/mount=/home": "3",
	}
	keys := keySet{"h2/cpu.idle": 0, "h0/mem": -1, "h0/df.never": 0, "nobody/cpu.idle": 0, "": 0, "h0": 0, "h0/": 0, "/": 0, "h0/df.free/mount=/run": 0, "h0/df.free/x": 0}
	for k := range want {
		keys[k] = 1
	}
	for _, codec := range codecs {
		c := rpc.NewClient(rpc.ClientOptions{Addr: addr, Codec: codec})
		var r filteredStrategies
		if err := c.Call(t.Context(), "HbsNew.GetFilteredStrategies", keys, &r); err != nil {
			t.Errorf("%v: %v", codec, err)
		}
		c.Close()
		got := map[string]string{}
		for k, all := range r.HostStrategies {
			got[k] = ids(all)
			if all[0].Tpl == nil || all[0].Tpl.ActionId != 9 {
				t.Errorf("%v: %s has no template: %+v", codec, k, all[0])
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%v:\n got %v\nwant %v", codec, got, want)
		}
	}
}

// As a script says it: what the keys lead to is of no consequence, and none is no null.
func TestGetFilteredStrategiesInJSON(t *testing.T) {
	_, addr := serving(t, disks(), nil)
	for _, tc := range []struct{ keys, want string }{
		{`{}`, `{"hostStrategies":{}}`},
		{`null`, `{"hostStrategies":{}}`},
		{`{"nobody/x":1}`, `{"hostStrategies":{}}`},
		{`{"h0/a/b":{"x":[1.5]}}`, `{"hostStrategies":{"h0/a/b":[{"id":5,"metric":"a/b","tags":{},"func":"all(#1)","operator":"\u003c","rightValue":5,"maxStep":3,"priority":0,"note":"","tpl":{"id":1,"name":"base","parentId":0,"actionId":9,"creator":"root"}}]}}`},
	} {
		c := rpc.NewClient(rpc.ClientOptions{Addr: addr, Codec: rpc.JSON})
		var r json.RawMessage
		if err := c.Call(t.Context(), "HbsNew.GetFilteredStrategies", json.RawMessage(tc.keys), &r); err != nil || string(r) != tc.want {
			t.Errorf("%s: %s, %v, want %s", tc.keys, r, err, tc.want)
		}
		c.Close()
	}
}

// The fork's call has the merge that all have, and says null of a host in maintenance.
func TestGetOneEndStrategies(t *testing.T) {
	m := disks()
	m.rows.Templates = append(m.rows.Templates, portal.RuleTemplate{ID: 2, Name: "child", Parent: 1, Action: 10})
	m.rows.Strategies = append(m.rows.Strategies, portal.RuleStrategy{ID: 6, Metric: "cpu.idle", Func: "all(#1)", Op: "<", RightValue: "1", MaxStep: 3, Template: 2})
	m.rows.Groups = append(m.rows.Groups, portal.RuleGroup{ID: 2, Name: "special"})
	m.rows.GroupHosts = append(slices.Clone(m.rows.GroupHosts[1:]), portal.RulePair{Group: 2, Other: 1}) // h0 is in it alone
	m.rows.GroupTemplates = append(m.rows.GroupTemplates, portal.RulePair{Group: 2, Other: 2})
	_, addr := serving(t, m, nil)
	for _, codec := range codecs {
		c := rpc.NewClient(rpc.ClientOptions{Addr: addr, Codec: codec})
		for host, want := range map[string]string{"h0": "2 3 4 5 6", "h1": "1 2 3 4 5", "h2": "", "nobody": ""} {
			var r endStrategies
			if err := c.Call(t.Context(), "Hbs.GetOneEndStrategies", &endpoint{host}, &r); err != nil || ids(r.Strategies) != want {
				t.Errorf("%v: %s has %q, %v, want %q", codec, host, ids(r.Strategies), err, want)
			}
			for _, s := range r.Strategies {
				if host == "h0" && s.Tpl.ActionId != 10 {
					t.Errorf("%v: strategy %d tells %d, want the people of the bound template", codec, s.Id, s.Tpl.ActionId)
				}
			}
		}
		c.Close()
	}
	c := rpc.NewClient(rpc.ClientOptions{Addr: addr, Codec: rpc.JSON})
	defer c.Close()
	for host, want := range map[string]string{"h2": `{"strategies":null}`, "nobody": `{"strategies":[]}`} {
		var r json.RawMessage
		if err := c.Call(t.Context(), "Hbs.GetOneEndStrategies", &endpoint{host}, &r); err != nil || string(r) != want {
			t.Errorf("%s: %s, %v, want %s", host, r, err, want)
		}
	}
}

// Without rules the answer is an error: a judge takes an empty one for the truth.
func TestNoPartOfTheRulesBeforeThereAreAny(t *testing.T) {
	m := disks()
	m.err = errors.New("no database")
	_, addr := serving(t, m, nil)
	for _, codec := range codecs {
		c := rpc.NewClient(rpc.ClientOptions{Addr: addr, Codec: codec})
		for method, arg := range map[string]any{"HbsNew.GetFilteredStrategies": keySet{"h0/cpu.idle": 1}, "Hbs.GetOneEndStrategies": &endpoint{"h0"}} {
			if err := c.Call(t.Context(), method, arg, nil); err == nil || err.Error() != errNotReady.Error() {
				t.Errorf("%v: %s answers %v, want %v", codec, method, err, errNotReady)
			}
		}
		c.Close()
	}
}

// A key is what a stranger sends; whatever it is, the answer is of the rules of a host
// that it begins with.
func FuzzSomeRules(f *testing.F) {
	res := compile.Compile(&disks().rows, time.Unix(0, 0))
	some := newSomeRules(res.Book)
	for _, key := range []string{"h0/cpu.idle", "h0/df.free/mount=/", "h0/a/b/x=y", "//", "h0//=", "h1/df.free/=,=,/"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		for _, s := range some.of(key) {
			host, rest, _ := strings.Cut(key, "/")
			if _, ok := res.Book.Hosts[host]; !ok || rest != s.Metric && !strings.HasPrefix(rest, s.Metric+"/") {
				t.Errorf("%q leads to strategy %d of %s", key, s.Id, s.Metric)
			}
		}
	})
}
