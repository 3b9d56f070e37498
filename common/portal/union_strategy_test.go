package portal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestUnionSerial(t *testing.T) {
	if got := UnionSerial([]int64{40, 12, 15}); got != "6d82176a11a98cf0cd916cd6f2977a92" {
		t.Errorf("serial of 12, 15, 40 is %s", got)
	}
}

// Both forms of a combination are kept in step, whatever becomes of its members.
func TestUnions(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		tpl := must[int64](t)(db.CreateTemplate(ctx, Template{Name: "a"}))
		other := must[int64](t)(db.CreateTemplate(ctx, Template{Name: "b"}))
		var s []int64
		for i := range 6 {
			in := tpl
			if i == 5 {
				in = other
			}
			s = append(s, must[int64](t)(db.CreateStrategy(ctx, Strategy{Metric: fmt.Sprint("m", i), Func: "all(#1)", Op: ">", RightValue: "1", MaxStep: 1, Template: in})))
		}
		// rows are the columns of all strategies of the template, and the table.
		rows := func() string {
			t.Helper()
			r := must[*RuleRows](t)(db.RuleRows(ctx))
			var out []string
			for _, m := range r.Members {
				out = append(out, fmt.Sprintf("%d:%d/%d/%d/%v", slices.Index(s, int64(m.Strategy)), m.Union, m.Multi, m.Count, m.Serial != ""))
			}
			for _, u := range r.Unions {
				out = append(out, fmt.Sprintf("u%d=%s", u.ID, u.Strategies))
			}
			return strings.Join(out, " ")
		}
		ids := func(which ...int) (all []int64) {
			for _, i := range which {
				all = append(all, s[i])
			}
			return all
		}
		fails := func(want string, u Union) {
			t.Helper()
			before := rows()
			_, err := db.SaveUnion(ctx, u)
			var inv *InvalidError
			if want == "" && !errors.Is(err, ErrNotFound) || want != "" && (!errors.As(err, &inv) || !strings.Contains(err.Error(), want)) {
				t.Errorf("%v: %v, want %q", u.Strategies, err, want)
			}
			if now := rows(); now != before {
				t.Errorf("a refusal changed\n%s to\n%s", before, now)
			}
		}
		u := must[*Union](t)(db.SaveUnion(ctx, Union{Strategies: ids(2, 0, 0, 1), Name: "busy", CreateUser: "ann"}))
		if !slices.Equal(u.Strategies, ids(0, 1, 2)) || u.Name != "busy" || u.CreateUser != "ann" || u.Count != 3 || u.Serial != UnionSerial(ids(0, 1, 2)) || u.Template != tpl {
			t.Errorf("%+v", u)
		}
		n := u.ID
		if got, want := rows(), fmt.Sprintf("0:%d/1/3/true 1:%d/1/3/true 2:%d/1/3/true u%d=%s", n, n, n, n, joinIDs(ids(0, 1, 2))); got != want {
			t.Errorf("rows %s, want %s", got, want)
		}
		fails("2 to 20 strategies", Union{Strategies: ids(3, 3)})
		fails("2 to 20 strategies", Union{Strategies: make([]int64, 0)})
		fails("different templates", Union{Strategies: ids(3, 5)})
		fails("another combination", Union{Strategies: ids(2, 3)})
		fails("no strategy with id", Union{Strategies: []int64{s[3], 1 << 30}})
		fails("", Union{ID: 1 << 30, Strategies: ids(3, 4)})
		fails("name", Union{Strategies: ids(3, 4), Name: strings.Repeat("x", 300)})

		// Other members: those that leave are rules of their own again.
		u = must[*Union](t)(db.SaveUnion(ctx, Union{ID: n, Strategies: ids(0, 3, 4), Name: "other", CreateUser: "bob"}))
		if u.ID != n || u.CreateUser != "ann" || u.Name != "other" || u.Serial != UnionSerial(ids(0, 3, 4)) {
			t.Errorf("%+v", u)
		}
		second := must[*Union](t)(db.SaveUnion(ctx, Union{Strategies: ids(1, 2)}))
		all := must[[]Union](t)(db.Unions(ctx, tpl, other))
		if len(all) != 2 || all[0].ID != n || all[1].ID != second.ID || all[1].Count != 2 {
			t.Errorf("%+v", all)
		}
		// A strategy that goes leaves the others one combination, and a single one marked.
		for _, want := range []string{
			fmt.Sprintf("0:%d/1/2/true 3:%d/1/2/true", n, n),
			fmt.Sprintf("0:%d/1/2/true", n),
			"",
		} {
			last := u.Strategies[len(u.Strategies)-1]
			if err := db.DeleteStrategy(ctx, last); err != nil {
				t.Fatal(err)
			}
			u.Strategies = u.Strategies[:len(u.Strategies)-1]
			got := rows()
			var mine []string
			for _, f := range strings.Fields(got) {
				if strings.Contains(f, fmt.Sprintf(":%d/", n)) {
					mine = append(mine, f)
				}
			}
			if strings.Join(mine, " ") != want {
				t.Errorf("rows %v, want %q", mine, want)
			}
			if now, err := db.Union(ctx, n); want != "" && (err != nil || now.Count != 2 || now.Serial != UnionSerial(u.Strategies)) || want == "" && !errors.Is(err, ErrNotFound) {
				t.Errorf("%+v, %v", now, err)
			}
		}
		if err := db.DissolveUnion(ctx, second.ID); err != nil {
			t.Error(err)
		}
		if got := rows(); got != "" {
			t.Errorf("left over: %s", got)
		}
		for _, id := range []int64{second.ID, 0, -1} {
			if err := db.DissolveUnion(ctx, id); !errors.Is(err, ErrNotFound) {
				t.Errorf("dissolve %d: %v", id, err)
			}
		}
		must[*Union](t)(db.SaveUnion(ctx, Union{Strategies: ids(1, 2)}))
		if err := db.DeleteTemplate(ctx, tpl); err != nil {
			t.Fatal(err)
		}
		if got := rows(); got != "" {
			t.Errorf("left over: %s", got)
		}
	})
}

// Combinations that others wrote are read in either form, and taken over in both.
func TestForeignUnions(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		runSQL(t, db,
			"INSERT INTO tpl (id, tpl_name) VALUES (4, 'base')",
			"INSERT INTO strategy (id, metric, right_value, tpl_id, union_strategy_id) VALUES (5, 'a', '1', 4, 9), (6, 'b', '1', 4, 9)",
			"INSERT INTO union_strategy (id, strategy_ids) VALUES (9, '5,6')",
			"INSERT INTO strategy (id, metric, right_value, tpl_id, is_multi, multi_serial, multi_count) VALUES (7, 'a', '1', 4, 1, 'x', 3), (8, 'b', '1', 4, 1, 'x', 3)",
		)
		got := must[[]Union](t)(db.Unions(ctx, 4))
		if len(got) != 2 || got[0].ID != 9 || got[0].Count != 2 || got[0].Serial != "u_9" || got[1].ID != 0 || got[1].Serial != "x" || got[1].Count != 3 {
			t.Fatalf("%+v", got)
		}
		u := must[*Union](t)(db.SaveUnion(ctx, Union{ID: 9, Strategies: []int64{5, 6}, Name: "n"}))
		if u.Serial != UnionSerial([]int64{5, 6}) || u.Name != "n" {
			t.Errorf("%+v", u)
		}
		u = must[*Union](t)(db.SaveUnion(ctx, Union{Strategies: []int64{7, 8}}))
		if u.ID == 0 || u.Count != 2 {
			t.Errorf("%+v", u)
		}
	})
}
