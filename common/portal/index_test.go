package portal

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// write enters rows that all have to be taken.
func write(t testing.TB, db *DB, cache *EndpointCache, rows ...IndexRow) {
	t.Helper()
	if refused, err := db.IndexWrite(t.Context(), cache, rows); err != nil || len(refused) > 0 {
		t.Fatalf("IndexWrite: refused %v, err %v", refused, err)
	}
}

// dump prints the whole index, a line a row.
func dump(t testing.TB, db *DB) string {
	t.Helper()
	var b strings.Builder
	var endpoints []Endpoint
	if err := db.Graph.read.Select(&endpoints, "SELECT "+endpointColumns+" FROM endpoint ORDER BY endpoint"); err != nil {
		t.Fatal(err)
	}
	for _, e := range endpoints {
		fmt.Fprintf(&b, "%s @%d\n", e.Endpoint, e.Ts)
		for _, tag := range must[[]string](t)(db.TagsByEndpointID(t.Context(), e.ID)) {
			fmt.Fprintf(&b, "  # %s\n", tag)
		}
		for _, c := range must[[]EndpointCounter](t)(db.CountersByEndpointIDs(t.Context(), []int64{e.ID})) {
			fmt.Fprintf(&b, "  %s %d %s @%d\n", c.Counter, c.Step, c.Type, c.Ts)
		}
	}
	return b.String()
}

func wantIndex(t testing.TB, db *DB, want string) {
	t.Helper()
	if got := dump(t, db); got != want {
		t.Errorf("the index holds\n%s\nwant\n%s", got, want)
	}
}

func TestIndexWrite(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		cache := NewEndpointCache(100)
		write(t, db, cache,
			IndexRow{"h2", "cpu.idle", "", 60, "GAUGE", 100},
			IndexRow{"h1", "df.free/fs=ext4,mount=/", "fs=ext4,mount=/", 60, "GAUGE", 100},
			IndexRow{"h1", "net.in/if=eth0", "if=eth0", 60, "DERIVE", 160},
			IndexRow{"h1", "net.in/if=eth0", "if=eth0", 30, "DERIVE", 130}, // older, later in the batch
		)
		const first = "h1 @160\n  # fs=ext4\n  # if=eth0\n  # mount=/\n  df.free/fs=ext4,mount=/ 60 GAUGE @100\n  net.in/if=eth0 60 DERIVE @160\nh2 @100\n  cpu.idle 60 GAUGE @100\n"
		wantIndex(t, db, first)

		// The same again, and older, change nothing; with and without a cache.
		for _, c := range []*EndpointCache{cache, nil} {
			write(t, db, c,
				IndexRow{"h2", "cpu.idle", "", 60, "GAUGE", 100},
				IndexRow{"h1", "net.in/if=eth0", "if=eth0", 10, "GAUGE", 99})
			wantIndex(t, db, first)
		}

		// A newer time, step and type are taken over.
		write(t, db, cache,
			IndexRow{"h2", "cpu.idle", "", 60, "GAUGE", 220},
			IndexRow{"h1", "net.in/if=eth0", "if=eth0", 10, "GAUGE", 220})
		wantIndex(t, db, "h1 @220\n  # fs=ext4\n  # if=eth0\n  # mount=/\n  df.free/fs=ext4,mount=/ 60 GAUGE @100\n  net.in/if=eth0 10 GAUGE @220\nh2 @220\n  cpu.idle 60 GAUGE @220\n")
	})
}

// Names that the collation takes for one are one row, in one batch and over
// several, and fail nothing.
func TestIndexWriteFoldsCase(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		cache := NewEndpointCache(100)
		write(t, db, cache,
			IndexRow{"Host", "cpu", "", 60, "GAUGE", 100},
			IndexRow{"host", "Cpu/K=v", "K=v", 60, "GAUGE", 110},
			IndexRow{"host", "cpu/k=v", "k=v", 60, "GAUGE", 120})
		write(t, db, cache, IndexRow{"HOST", "CPU", "", 60, "GAUGE", 130})
		wantIndex(t, db, "Host @130\n  # K=v\n  Cpu/K=v 60 GAUGE @120\n  cpu 60 GAUGE @130\n")
	})
}

// MySQL also folds accents and blanks at the end, which shows only as a
// duplicate; SQLite keeps them apart. Neither may fail.
func TestIndexWriteMeetsOtherCollations(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		rows := []IndexRow{
			{"cafe", "a", "", 60, "GAUGE", 100}, {"café", "a", "", 60, "GAUGE", 110},
			{"cafe", "b", "", 60, "GAUGE", 100}, {"cafe", "b ", "", 60, "GAUGE", 120}, {"cafe", "ß/t=é", "t=é", 60, "GAUGE", 120},
		}
		write(t, db, nil, rows...)
		write(t, db, nil, rows...)
		if n := count(t, db.Graph, "endpoint"); n != map[bool]int{true: 2, false: 1}[db.Graph.SQLite()] {
			t.Errorf("%d endpoints", n)
		}
	})
}

func TestIndexWriteRefusesOnlyWhatCanNotBeStored(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		long := strings.Repeat("x", 256)
		refused, err := db.IndexWrite(t.Context(), nil, []IndexRow{
			{"h", long, "", 60, "GAUGE", 100},
			{"h", long[:255], "", 60, "GAUGE", 5_000_000_000},
			{long, "c", "", 60, "GAUGE", 100},
			{"h", "c", "", 0, "GAUGE", 100},
			{"", "c", "", 60, "GAUGE", 100},
			{"h", "", "", 60, "GAUGE", 100},
			{"h", "bad\xff", "", 60, "GAUGE", 100},
			{"h", "smile/k=😀", "k=😀", 60, "GAUGE", 100},
			{"h", strings.Repeat("語", 255), "", 60, "GAUGE", -5},
			{"h", "c", "", 60, strings.Repeat("T", 17), 100},
		})
		if err != nil {
			t.Fatal(err)
		}
		want := []IndexRefusal{
			{0, "counter is longer than 255 characters"},
			{2, "endpoint is longer than 255 characters"},
			{3, "step is out of range"},
			{4, "endpoint is empty"},
			{5, "counter is empty"},
			{6, "counter is not UTF-8"},
			{7, "counter holds '😀', which the column's character set lacks"},
			{9, "type is longer than 16 characters"},
		}
		if !slices.Equal(refused, want) {
			t.Errorf("refused\n got %v\nwant %v", refused, want)
		}
		wantIndex(t, db, "h @2147483647\n  "+long[:255]+" 60 GAUGE @2147483647\n  "+strings.Repeat("語", 255)+" 60 GAUGE @0\n")
	})
}

// An id that the cache remembers of an endpoint that is gone is not written to.
func TestIndexWriteNoticesAStaleCache(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		cache := NewEndpointCache(100)
		row := IndexRow{"h", "c", "", 60, "GAUGE", 100}
		write(t, db, cache, row, IndexRow{"other", "c", "", 60, "GAUGE", 100})
		if _, _, err := db.DeleteEndpoints(t.Context(), []string{"h"}); err != nil {
			t.Fatal(err)
		}
		row.Ts = 200
		write(t, db, cache, row)
		wantIndex(t, db, "h @200\n  c 60 GAUGE @200\nother @100\n  c 60 GAUGE @100\n")

		// The same when the id belongs to another endpoint by now.
		ids := must[map[string]int64](t)(db.EndpointIDs(t.Context(), []string{"h", "other"}))
		cache.put(map[string]int64{"h": ids["other"]})
		row.Ts = 300
		write(t, db, cache, row)
		wantIndex(t, db, "h @300\n  c 60 GAUGE @300\nother @100\n  c 60 GAUGE @100\n")
	})
}

func TestEndpointCacheIsBounded(t *testing.T) {
	c := NewEndpointCache(10)
	for i := range int64(1000) {
		c.put(map[string]int64{fmt.Sprint(i): i})
	}
	known, _ := c.get(map[string]int64{"999": 0})
	if c.Len() != 10 || known["999"] != 999 {
		t.Errorf("the cache holds %d ids and knows %v, want 10 with the last one", c.Len(), known)
	}
}

// A batch larger than one transaction, and a second one that meets all of it.
func TestIndexWriteLargeBatch(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		var rows []IndexRow
		for h := range 30 {
			for c := range 40 {
				tags := fmt.Sprintf("core=%d", c)
				rows = append(rows, IndexRow{fmt.Sprintf("h%02d", h), "cpu/" + tags, tags, 60, "GAUGE", 100})
			}
		}
		write(t, db, nil, rows...)
		for i := range rows {
			rows[i].Ts = 160
		}
		write(t, db, nil, rows...)
		for from, want := range map[string]int{
			"endpoint WHERE ts = 160": 30, "endpoint": 30,
			"endpoint_counter WHERE ts = 160": 1200, "endpoint_counter": 1200,
			"tag_endpoint WHERE ts = 160": 1200, "tag_endpoint": 1200,
		} {
			if n := count(t, db.Graph, from); n != want {
				t.Errorf("%d rows in %s, want %d", n, from, want)
			}
		}
	})
}

func TestIndexDelete(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		fill := func() {
			write(t, db, nil,
				IndexRow{"h1", "a/k=1,t=x", "k=1,t=x", 60, "GAUGE", 100},
				IndexRow{"h1", "b/c/k=2,t=x", "k=2,t=x", 60, "GAUGE", 200},
				IndexRow{"h2", "a", "", 60, "GAUGE", 100})
		}
		fill()
		n, err := db.IndexDelete(t.Context(), []IndexKey{{"h1", "a/k=1,t=x"}, {"h1", "b/c/k=2,t=x"}, {"h2", "a"}, {"h2", "zz"}, {"nobody", "a"}}, 150)
		if n != 2 || err != nil {
			t.Errorf("IndexDelete = %d, %v, want 2", n, err)
		}
		// A tag that another counter has stays; an endpoint without counters goes.
		wantIndex(t, db, "h1 @200\n  # k=2\n  # t=x\n  b/c/k=2,t=x 60 GAUGE @200\n")

		fill()
		if n, err := db.IndexDelete(t.Context(), []IndexKey{{"h1", "b/c/k=2,t=x"}}, 0); n != 1 || err != nil {
			t.Errorf("IndexDelete = %d, %v, want 1", n, err)
		}
		e, c, err := db.DeleteEndpoints(t.Context(), []string{"h1", "h2", "h2", "nobody"})
		if e != 2 || c != 2 || err != nil {
			t.Errorf("DeleteEndpoints = %d, %d, %v, want 2, 2", e, c, err)
		}
		wantIndex(t, db, "")
		if n := count(t, db.Graph, "tag_endpoint"); n != 0 {
			t.Errorf("%d tags left", n)
		}
	})
}

func TestEndpointIDsAreMadeOnDemand(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		write(t, db, nil, IndexRow{"old", "c", "", 60, "GAUGE", 100})
		long := strings.Repeat("x", 256)
		ids := must[map[string]int64](t)(db.EndpointIDs(ctx, []string{"old", "new", "New", "", long, "new"}))
		if got := slices.Sorted(maps.Keys(ids)); !slices.Equal(got, []string{"New", "new", "old"}) || ids["new"] != ids["New"] || ids["new"] == ids["old"] {
			t.Errorf("EndpointIDs = %v", ids)
		}
		if again := must[map[string]int64](t)(db.EndpointIDs(ctx, []string{"new", "old"})); again["new"] != ids["new"] || again["old"] != ids["old"] {
			t.Errorf("EndpointIDs again = %v, first %v", again, ids)
		}
		byID := must[map[int64]Endpoint](t)(db.EndpointsByID(ctx, []int64{ids["old"], 12345}))
		if len(byID) != 1 || byID[ids["old"]] != (Endpoint{ids["old"], "old", 100}) {
			t.Errorf("EndpointsByID = %v", byID)
		}
		for since, want := range map[int64]int{0: 2, 100: 1, 101: 0} {
			if got := must[[]Endpoint](t)(db.EndpointsByName(ctx, []string{"old", "new", "zz"}, since)); len(got) != want {
				t.Errorf("EndpointsByName since %d = %v, want %d", since, got, want)
			}
		}
	})
}

func TestSearch(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		write(t, db, nil,
			IndexRow{"web-1", "cpu.idle", "", 60, "GAUGE", 100},
			IndexRow{"web-2", "net.in/if=eth0", "if=eth0", 60, "DERIVE", 200},
			IndexRow{"web-2", "net.out/if=eth1", "if=eth1", 60, "DERIVE", 200},
			IndexRow{"DB-1", "net.in/if=eth0,vlan=3", "if=eth0,vlan=3", 60, "DERIVE", 300})
		for _, tc := range []struct {
			q, tags       string
			since         int64
			limit, offset int
			want          string
			total         int
		}{
			{".", "", 0, 10, 0, "DB-1 web-1 web-2", 3},
			{"WEB 1", "", 0, 10, 0, "web-1", 1},
			{".", "", 0, 1, 1, "web-1", 3},
			{".", "", 0, 5, 5, "", 3},
			{"", "if=eth0", 0, 10, 0, "DB-1 web-2", 2},
			{"", "IF=ETH0,eth1", 0, 10, 0, "web-2", 1}, // in different counters
			{"web", "vlan", 0, 10, 0, "", 0},           // no match is no match
			{"", "100%", 0, 10, 0, "", 0},              // a substring, no LIKE
			{".", "", 200, 10, 0, "DB-1 web-2", 2},
		} {
			s := EndpointSearch{Match: must[[]Pattern](t)(ParsePatterns(tc.q, false)), Since: tc.since, Limit: tc.limit, Offset: tc.offset}
			if tc.tags != "" {
				s.Tags = strings.Split(tc.tags, ",")
			}
			page, total, err := db.SearchEndpoints(ctx, s)
			var names []string
			for _, e := range page {
				names = append(names, e.Endpoint)
			}
			// Where the ascii order of DB and web lies depends on the collation; both fold case.
			if got := strings.Join(names, " "); got != tc.want || total != tc.total || err != nil {
				t.Errorf("SearchEndpoints(%+v) = %q, %d, %v, want %q, %d", tc, got, total, err, tc.want, tc.total)
			}
		}

		ids := must[map[string]int64](t)(db.EndpointIDs(ctx, []string{"web-1", "web-2"}))
		for q, want := range map[string]string{
			"":           "cpu.idle net.in/if=eth0 net.out/if=eth1",
			"NET !eth1":  "net.in/if=eth0",
			"!net":       "cpu.idle",
			"^net ETH":   "net.in/if=eth0 net.out/if=eth1",
			"! cpu":      "cpu.idle",
			"vlan":       "",
			`idle$|out/`: "cpu.idle net.out/if=eth1",
		} {
			page, total, err := db.SearchCounters(ctx, CounterSearch{EndpointIDs: []int64{ids["web-1"], ids["web-2"]}, Match: must[[]Pattern](t)(ParsePatterns(q, true)), Limit: 10})
			var names []string
			for _, c := range page {
				names = append(names, c.Counter)
			}
			if got := strings.Join(names, " "); got != want || total != len(page) || err != nil {
				t.Errorf("SearchCounters(%q) = %q, %d, %v, want %q", q, got, total, err, want)
			}
		}
		named := must[[]EndpointCounter](t)(db.CountersByEndpointIDs(ctx, []int64{ids["web-2"]}, "net.in/if=eth0", "cpu.idle"))
		if len(named) != 1 || named[0].Type != "DERIVE" || named[0].Step != 60 {
			t.Errorf("CountersByEndpointIDs by name = %v", named)
		}
	})
}

// A caller who is gone is not served, and the error is his.
func TestSearchIsBoundByItsContext(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		ctx, cancel := contextAt(t)
		cancel()
		if _, _, err := db.SearchEndpoints(ctx, EndpointSearch{Limit: 1}); err == nil {
			t.Error("SearchEndpoints answered a caller who left")
		}
	})
}

func TestParsePatterns(t *testing.T) {
	for _, tc := range []struct{ q, want, err string }{
		{"", "[]", "<nil>"},
		{" a  b ", "[{a false} {b false}]", "<nil>"},
		{"!a b", "[{a true} {b false}]", "<nil>"},
		{"! !", "[]", "<nil>"},
		{"a(", "[]", "regular expression \"a(\": error parsing regexp: missing closing ): `a(`"},
		{strings.Repeat("a", 513), "[]", "a regular expression is longer than 512 bytes"},
		{strings.Repeat("a ", 33), "[]", "more than 32 regular expressions"},
		{"a{1001}", "[]", "regular expression \"a{1001}\": error parsing regexp: invalid repeat count: `{1001}`"},
	} {
		got, err := ParsePatterns(tc.q, true)
		if fmt.Sprint(got) != tc.want || fmt.Sprint(err) != tc.err {
			t.Errorf("ParsePatterns(%q)\n got %v, %v\nwant %s, %s", tc.q, got, err, tc.want, tc.err)
		}
		if _, ok := errors.AsType[*InvalidError](err); err != nil && !ok {
			t.Errorf("ParsePatterns(%q): %T, want *InvalidError", tc.q, err)
		}
	}
}

// Whatever passes ParsePatterns runs in REGEXP, here and on the server.
func FuzzParsePatterns(f *testing.F) {
	for _, q := range []string{"", "a b", "!x .+", "(?i)a|b", "[[:alpha:]]", `\d+\`, "\xff", "a**", "(?P<n>x)"} {
		f.Add(q)
	}
	cache := newPatternCache(4)
	f.Fuzz(func(t *testing.T, q string) {
		all, err := ParsePatterns(q, true)
		if err != nil {
			return
		}
		for _, p := range all {
			if _, err := cache.match(nil, []driver.Value{p.Expr, "text"}); err != nil {
				t.Errorf("REGEXP %q: %v", p.Expr, err)
			}
		}
	})
}
