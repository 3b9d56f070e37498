package nodata

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"falcon/common/portal"
)

func row(id int64, typ, obj, metric, tags string) portal.Nodata {
	return portal.Nodata{ID: id, Name: fmt.Sprint("row", id), ObjType: typ, Obj: obj, Metric: metric, Tags: tags, DsType: "GAUGE", Step: 60, Mock: -1}
}

func TestRowsBecomeSeries(t *testing.T) {
	members := map[string][]string{"web": {"h1", "h2"}, "db": {"h2", "h3"}}
	with := func(r portal.Nodata, f func(*portal.Nodata)) portal.Nodata { f(&r); return r }
	for _, tc := range []struct {
		name     string
		rows     []portal.Nodata
		want     string // key:row, in order
		unusable int
	}{
		{"a host a line, blanks and empty lines do not count", []portal.Nodata{row(1, "host", " h1\r\n\nh2 \n", "m", "")}, "h1/m:1 h2/m:1", 0},
		{"other names endpoints as well", []portal.Nodata{row(1, "other", "service", "m", "")}, "service/m:1", 0},
		{"a group is its members", []portal.Nodata{row(1, "group", "web\ndb\nnone", "m", "")}, "h1/m:1 h2/m:1 h3/m:1", 0},
		{"tags are sorted", []portal.Nodata{row(1, "host", "h", "m", "b=2, a=1")}, "h/m/a=1,b=2:1", 0},
		{"other tags are another series", []portal.Nodata{row(1, "host", "h", "m", "a=1"), row(2, "host", "h", "m", "a=2")}, "h/m/a=1:1 h/m/a=2:2", 0},
		{"a host beats a group before it", []portal.Nodata{row(1, "group", "web", "m", ""), row(2, "host", "h1", "m", "")}, "h1/m:2 h2/m:1", 0},
		{"and one behind it", []portal.Nodata{row(1, "host", "h1", "m", ""), row(2, "group", "web", "m", "")}, "h1/m:1 h2/m:2", 0},
		{"of two hosts the first stays", []portal.Nodata{row(1, "host", "h1", "m", ""), row(2, "host", "h1", "m", "")}, "h1/m:1", 0},
		{"of two groups the first stays", []portal.Nodata{row(1, "group", "web", "m", ""), row(2, "group", "db", "m", "")}, "h1/m:1 h2/m:1 h3/m:2", 0},
		{"other beats no group", []portal.Nodata{row(1, "group", "web", "m", ""), row(2, "other", "h1", "m", "")}, "h1/m:1 h2/m:1", 0},
		{"a host beats no other", []portal.Nodata{row(1, "other", "h1", "m", ""), row(2, "host", "h1", "m", "")}, "h1/m:1", 0},
		{"what can not be used is counted", []portal.Nodata{
			with(row(1, "host", "h", "m", ""), func(r *portal.Nodata) { r.DsType = "COUNTER" }),
			with(row(2, "host", "h", "m", ""), func(r *portal.Nodata) { r.DsType = "gauge" }),
			with(row(3, "host", "h", "m", ""), func(r *portal.Nodata) { r.Step = 0 }),
			with(row(4, "host", "h", "m", ""), func(r *portal.Nodata) { r.Mock = math.Inf(1) }),
			row(5, "host", "h", "", ""),
			with(row(6, "host", "h", "m", ""), func(r *portal.Nodata) { r.Step = 1 }),
		}, "h/m:6", 5},
	} {
		all, unusable := expand(tc.rows, members)
		var got []string
		for _, key := range slices.Sorted(maps.Keys(all)) {
			got = append(got, fmt.Sprint(key, ":", all[key].Row))
		}
		if s := strings.Join(got, " "); s != tc.want || unusable != tc.unusable {
			t.Errorf("%s: %s with %d unusable, want %s with %d", tc.name, s, unusable, tc.want, tc.unusable)
		}
	}
	if got := groups([]portal.Nodata{row(1, "group", "web\ndb", "m", ""), row(2, "group", "db", "m", ""), row(3, "host", "h", "m", ""), row(4, "group", "unused", "", "")}); fmt.Sprint(got) != "[db web]" {
		t.Errorf("groups: %v", got)
	}
}

// Whether a series is silent, at the second 1000000.
func TestJudge(t *testing.T) {
	const now = 1_000_000
	names := map[verdict]string{unknown: "unknown", reports: "reports", silent: "silent"}
	for _, tc := range []struct {
		name    string
		step    int64
		answers []Answer // the oldest first
		want    verdict
	}{
		{"never fetched", 60, nil, unknown},
		{"a new point", 60, []Answer{{now - 60, 5, now - 20}}, reports},
		{"the fetch is as old as it may be", 60, []Answer{{now - 181, 5, now - 180}}, silent},
		{"the fetch is too old, whatever it said", 60, []Answer{{now - 500, 5, now - 181}}, unknown},
		{"the fetch is too old, though it was a mock", 60, []Answer{{now - 300, -1, now - 181}}, unknown},
		{"the value is the mock's", 60, []Answer{{now - 10, -1, now - 20}}, silent},
		{"nearly", 60, []Answer{{now - 10, -1 + 9e-7, now - 20}}, silent},
		{"not quite", 60, []Answer{{now - 10, -1 + 2e-6, now - 20}}, reports},
		{"no number", 60, []Answer{{now - 10, math.NaN(), now - 20}}, reports},
		{"three steps old", 60, []Answer{{now - 180, 5, now - 20}}, reports},
		{"older", 60, []Answer{{now - 181, 5, now - 20}}, silent},
		{"a short step has three minutes", 10, []Answer{{now - 180, 5, now - 20}}, reports},
		{"and no more", 10, []Answer{{now - 181, 5, now - 20}}, silent},
		{"59 s is short", 59, []Answer{{now - 180, 5, now}}, reports},
		{"a long step has its own", 300, []Answer{{now - 900, 5, now - 20}}, reports},
		{"and no more", 300, []Answer{{now - 901, 5, now - 20}}, silent},
		{"no point", 60, []Answer{{0, 0, now - 20}}, silent},
		{"only the newest answer counts", 60, []Answer{{now - 600, 5, now - 40}, {now - 10, 5, now - 20}}, reports},
	} {
		var r record
		for _, a := range tc.answers {
			r.fetched(a, 0)
		}
		if got := r.judge(&Series{Step: tc.step, Mock: -1}, now); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, names[got], names[tc.want])
		}
	}
}

// A graph that has forgotten says that a series has no point. Of one that had some this
// is no news for three steps; of others it is at once.
func TestAnswersWithoutAPointHaveGrace(t *testing.T) {
	const t0, step, grace = 1_000_000, 60, 3 * 60
	s := Series{Step: step, Mock: -1}
	for _, tc := range []struct {
		name   string
		points []int64 // age of the point at each fetch, every 20 s from t0 on; -1: none
		grace  int64
		want   string // the verdict at each fetch: r, s, u
	}{
		{"never had a point", []int64{-1, -1, -1}, grace, "sss"},
		{"grace ends after three steps and not before", []int64{30, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1}, grace, "rrrrrrrrrrss"},
		{"a point that was old already is not young again", []int64{181, -1, -1}, grace, "sss"},
		{"the point was nearly too old: nothing was heard since, so it stays so", []int64{170, -1, -1}, grace, "rrr"},
		{"it comes back, and the next time has grace of its own", []int64{30, -1, -1, -1, -1, 30, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1}, grace, "rrrrrrrrrrrrrrrs"},
		{"no grace", []int64{30, -1, -1}, 0, "rss"},
	} {
		var r record
		got := ""
		for i, age := range tc.points {
			at := t0 + int64(20*i)
			a := Answer{Fetched: at}
			if age >= 0 {
				a.Time, a.Value = at-age, 5
			}
			r.fetched(a, tc.grace)
			got += string("urs"[r.judge(&s, at)])
		}
		if got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}

	// A series that is silent already stays so: its mocks go on.
	var r record
	r.fetched(Answer{t0 - 130, -1, t0}, grace)
	r.fetched(Answer{0, 0, t0 + 20}, grace)
	if got := r.judge(&s, t0+60); got != silent {
		t.Errorf("a silent series of a graph that was restarted: %v", got)
	}
	// The clock is set back an hour within the grace: it begins anew, and ends.
	r = record{}
	r.fetched(Answer{t0 - 30, 5, t0}, grace)
	for _, at := range []int64{t0 + 20, t0 - 3600, t0 - 3600 + grace} {
		r.fetched(Answer{0, 0, at}, grace)
	}
	if r.answers[0].Time != 0 {
		t.Errorf("the grace never ends after the clock was set back: %+v", r)
	}
}

func TestThreeAnswersAreKept(t *testing.T) {
	var r record
	for i := range int64(5) {
		r.fetched(Answer{Time: i + 1, Fetched: i + 10}, 0)
	}
	if got := fmt.Sprint(r.answers); got != "[{5 0 14} {4 0 13} {3 0 12}]" {
		t.Errorf("kept %s", got)
	}
}

// newBook has series h0 … of a step.
func newBook(n int, step int64) *book {
	all := map[string]Series{}
	for i := range n {
		name := fmt.Sprint("h", i)
		all[name+"/m/a=1"] = Series{Endpoint: name, Metric: "m", Tags: "a=1", Type: "GAUGE", Step: step, Mock: -1}
	}
	b := &book{}
	b.load(all)
	return b
}

func TestMocks(t *testing.T) {
	b := newBook(2, 60)
	const now = 1_000_000 // 40 s after a minute
	b.fetched("h0/m/a=1", Answer{0, 0, now}, 3)
	b.fetched("h1/m/a=1", Answer{now - 5, 1, now}, 3)
	if b.fetched("h9/m", Answer{now, 1, now}, 3) {
		t.Error("an answer of a series that nobody watches was taken")
	}
	r := b.judge(now, -1)
	if want := fmt.Sprint([]Mock{{"m", "h0", 999_960 - 120, 60, -1, "GAUGE", "a=1"}}); fmt.Sprint(r.Mocks) != want || r.Judged != 2 || r.Silent != 1 || r.Rate != 50 || r.Blocked {
		t.Errorf("%+v, want the mocks %s", r, want)
	}
	if rec := b.records["h0/m/a=1"]; rec.status != "NODATA" || rec.count != 1 || rec.stamp != now {
		t.Errorf("the state of the silent one: %+v", rec)
	}
	if rec := b.records["h1/m/a=1"]; rec.status != "OK" || rec.count != 0 {
		t.Errorf("the state of the other: %+v", rec)
	}
}

// One mock a step, for as long as the series is silent.
func TestOneMockAStep(t *testing.T) {
	for _, tc := range []struct {
		step int64
		want string // mocks at each minute
	}{{30, "111111"}, {60, "111111"}, {61, "101010"}, {120, "101010"}, {150, "100100"}} {
		b := newBook(1, tc.step)
		got := ""
		for i := range int64(6) {
			now := 1_000_020 + 60*i
			b.fetched("h0/m/a=1", Answer{0, 0, now}, 3)
			got += fmt.Sprint(len(b.judge(now, -1).Mocks))
		}
		if got != tc.want {
			t.Errorf("with a step of %d s: %s, want %s", tc.step, got, tc.want)
		}
	}
	// It reports, and is silent again within the step: that step has its mock.
	b := newBook(1, 300)
	states := ""
	for i, a := range []Answer{{0, 0, 0}, {1_000_000, 5, 0}, {1_000, 5, 0}, {1_000, 5, 0}, {1_000, 5, 0}, {1_000, 5, 0}} {
		now := int64(1_000_020 + 60*i)
		a.Fetched = now
		b.fetched("h0/m/a=1", a, 0)
		r, rec := b.judge(now, -1), b.records["h0/m/a=1"]
		states += fmt.Sprintf("%s %d %d, ", rec.status, rec.count, len(r.Mocks))
	}
	if want := "NODATA 1 1, OK 0 0, OK 0 0, OK 0 0, OK 0 0, NODATA 1 1, "; states != want {
		t.Errorf("states %s\nwant   %s", states, want)
	}
	// The clock was set back: nobody waits until it is where it was.
	b = newBook(1, 60)
	b.fetched("h0/m/a=1", Answer{0, 0, 1_000_020}, 3)
	b.judge(1_000_020, -1)
	b.fetched("h0/m/a=1", Answer{0, 0, 1_000_020 - 3600}, 3)
	if r := b.judge(1_000_020-3600, -1); len(r.Mocks) != 1 {
		t.Errorf("an hour back: %+v", r)
	}
}

func TestBlocking(t *testing.T) {
	for _, tc := range []struct {
		silent, reports, unknown int
		threshold                float64
		rate                     float64
		blocked                  bool
		mocks                    int
	}{
		{0, 10, 0, 32, 0, false, 0},
		{32, 68, 0, 32, 32, false, 32},
		{33, 67, 0, 32, 33, true, 0},
		{1, 1, 98, 32, 50, true, 0}, // of those judged
		{100, 0, 0, -1, 100, false, 100},
		{100, 0, 0, 100, 100, false, 100},
		{0, 0, 10, 32, 0, false, 0},
		{1, 1000, 0, 0, 100. / 1001, true, 0},
	} {
		b := newBook(tc.silent+tc.reports+tc.unknown, 60)
		const now = 1_000_020
		for i := range tc.silent {
			b.fetched(fmt.Sprintf("h%d/m/a=1", i), Answer{0, 0, now}, 3)
		}
		for i := range tc.reports {
			b.fetched(fmt.Sprintf("h%d/m/a=1", tc.silent+i), Answer{now, 5, now}, 3)
		}
		r := b.judge(now, tc.threshold)
		if r.Rate != tc.rate || r.Blocked != tc.blocked || len(r.Mocks) != tc.mocks || r.Silent != tc.silent || r.Judged != tc.silent+tc.reports || r.Blocked && r.Dropped != tc.silent {
			t.Errorf("%+v\n got rate %v, blocked %v with %d dropped, %d mocks, %d of %d", tc, r.Rate, r.Blocked, r.Dropped, len(r.Mocks), r.Silent, r.Judged)
		}
	}
}

// What is known of a series outlives a change of the others; what is gone is forgotten.
func TestLoadKeepsWhatIsKnown(t *testing.T) {
	b := newBook(2, 60)
	b.fetched("h0/m/a=1", Answer{1, 1, 1}, 3)
	b.fetched("h1/m/a=1", Answer{1, 1, 1}, 3)
	next := newBook(1, 60).series
	b.load(next)
	if len(b.records) != 1 || len(b.records["h0/m/a=1"].answers) != 1 {
		t.Errorf("records %+v", b.records)
	}
	b.load(newBook(2, 60).series)
	if len(b.records["h1/m/a=1"].answers) != 0 {
		t.Error("what was known of a series that was not watched for a while came back")
	}
}

func TestBeats(t *testing.T) {
	for _, tc := range []struct {
		b               beat
		now, last, next string
	}{
		{rowsBeat, "10:00:00", "09:58:50", "10:00:50"},
		{rowsBeat, "10:00:50", "10:00:50", "10:02:50"},
		{rowsBeat, "10:01:50", "10:00:50", "10:02:50"},
		{collectBeat, "10:00:00", "10:00:00", "10:00:20"},
		{collectBeat, "10:00:39", "10:00:40", "10:01:00"}, // a timer may fire a moment early
		{collectBeat, "10:00:38", "10:00:20", "10:00:40"},
		{judgeBeat, "10:00:20", "10:00:00", "10:01:00"},
		{judgeBeat, "10:00:59", "10:01:00", "10:02:00"},
	} {
		now, err := time.Parse(time.DateTime, "2026-11-27 "+tc.now)
		if err != nil {
			t.Fatal(err)
		}
		if last, next := tc.b.last(now).UTC().Format(time.TimeOnly), tc.b.next(now).UTC().Format(time.TimeOnly); last != tc.last || next != tc.next {
			t.Errorf("%v at %s: last %s, next %s; want %s and %s", tc.b, tc.now, last, next, tc.last, tc.next)
		}
	}
}

func TestOutbox(t *testing.T) {
	mock := func(from, to int) (all []Mock) {
		for i := from; i < to; i++ {
			all = append(all, Mock{Timestamp: int64(i)})
		}
		return all
	}
	times := func(ms []Mock) (all []int64) {
		for _, m := range ms {
			all = append(all, m.Timestamp)
		}
		return all
	}
	o := newOutbox(4)
	for round := range 3 { // standing by: the last two rounds
		if n := o.add(mock(2*round, 2*round+2)); n != 0 || o.len() != 0 {
			t.Errorf("while closed %d were let go, %d wait", n, o.len())
		}
	}
	if n := o.begin(); n != 0 || o.len() != 4 {
		t.Errorf("opened with %d, %d let go", o.len(), n)
	}
	if n := o.add(mock(6, 8)); n != 2 {
		t.Errorf("%d let go of a full box, want the 2 oldest", n)
	}
	a := o.take(3)
	if fmt.Sprint(times(a)) != "[4 5 6]" {
		t.Errorf("took %v", times(a))
	}
	o.add(mock(8, 9))
	if !o.giveBack(a[1:]) {
		t.Error("an open box takes nothing back")
	}
	if got := times(o.take(9)); fmt.Sprint(got) != "[5 6 7 8]" {
		t.Errorf("after giving back: %v", got)
	}
	o.add(mock(9, 10))
	if n := o.end(); n != 1 || o.giveBack(a) || o.len() != 0 {
		t.Errorf("closed with %d inside", n)
	}
	if n := o.begin(); n != 0 || o.len() != 0 {
		t.Errorf("what was sent by another one came back: %d", o.len())
	}
}
