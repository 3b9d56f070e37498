package fleet

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/redisx"
	"falcon/common/testkit"
)

// What the soak runs of each daemon, in the order of their start. Another one is added
// here and in soakFleet.configure.
var soakDaemons = []struct {
	name    string
	n       int
	suffers bool // it is killed and paused at random moments
}{
	{"hbs", 2, true},
	{"plus_judge", 2, true},
	{"judge", 3, true},
	{"transfer", 1, false},
}

const (
	soakHosts  = 40
	soakGroups = 4
	// soakWatched metrics are watched from the beginning, by one rule at least until the
	// end. The others are not, until an edit makes a rule for one, and so are muted.
	soakWatched = 5
	soakMetrics = 12
	// soakCounter is the metric of them that is a counter.
	soakCounter = 4
	// soakMembers is the first of the metrics that combinations look at, and soakText the
	// metric after them, whose values are texts.
	soakMembers = soakMetrics
	soakText    = soakMembers + 3
	soakMarker  = "soak.marker"
)

// soakWords are the values of texts; the first is that of the end.
var soakWords = []string{"ok", "down", "error 7", "slow"}

func soakMetric(i int) string { return fmt.Sprintf("soak.m%02d", i) }
func soakHost(i int) string   { return fmt.Sprintf("soak-%02d", i) }

// A soakFleet is judges and what they need, on databases and a Redis of its own.
type soakFleet struct {
	t      *testing.T
	name   string
	dir    string
	schema string
	db     *sql.DB
	redis  *testkit.RedisServer
	pool   *redisx.Pool
	bin    map[string]string
	addr   map[string]string // by name and port: "hbs-0.rpc"
	names  []string
	proc   map[string]*testkit.Process
	feed   chan []byte
	taken  atomic.Int64 // bodies that transfer has acknowledged
	given  int64
	told   [][]string // in each memory that Redis has had and lost
}

func newSoakFleet(t *testing.T, name string, bin map[string]string) *soakFleet {
	f := &soakFleet{
		t: t, name: name, dir: t.TempDir(), schema: fmt.Sprintf("falcon_soak_%s_%d", name, time.Now().UnixNano()), bin: bin,
		addr: map[string]string{}, proc: map[string]*testkit.Process{}, feed: make(chan []byte, 4),
		redis: testkit.Redis(t, "--appendonly", "yes"),
	}
	server := testkit.MySQL(t)
	var err error
	if f.db, err = sql.Open("mysql", server+"?multiStatements=true"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := f.db.Exec("DROP DATABASE IF EXISTS " + f.schema); err != nil {
			t.Error(err)
		}
		f.db.Close()
	})
	if _, err := f.db.Exec("CREATE DATABASE " + f.schema); err != nil {
		t.Fatal(err)
	}
	settings := redisx.DefaultConfig()
	settings.Addr = conf.DSN(f.redis.Addr())
	if f.pool, err = redisx.New(settings); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.pool.Close() })
	for _, d := range soakDaemons {
		for i := range d.n {
			name := fmt.Sprint(d.name, "-", i)
			f.names = append(f.names, name)
			f.addr[name+".rpc"], f.addr[name+".http"] = testkit.FreeAddr(t), testkit.FreeAddr(t)
		}
	}
	for name, cfg := range f.configure(server) {
		b, err := json.Marshal(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f.file(name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range f.names {
		f.start(name)
		if name == "hbs-0" {
			healthyAt(t, f.addr[name+".http"]) // it has made the tables
			f.first()
		}
	}
	for _, name := range f.names {
		healthyAt(t, f.addr[name+".http"])
	}
	stop := make(chan struct{})
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		f.feeding(stop)
	}()
	t.Cleanup(func() {
		close(stop)
		<-fed
	})
	return f
}

func (f *soakFleet) configure(server string) map[string]values {
	listen := func(addr string) values { return values{"enabled": true, "listen": addr} }
	redis := values{"addr": f.redis.Addr(), "readTimeout": "1s"}
	optional := maps.Clone(redis)
	optional["enabled"] = true
	of := func(daemon string) (all []string) {
		for _, name := range f.of(daemon) {
			all = append(all, f.addr[name+".rpc"])
		}
		return all
	}
	named := func(daemon string) values {
		all := values{}
		for i, addr := range of(daemon) {
			all[fmt.Sprint(daemon, "-", i)] = addr
		}
		return all
	}
	journal := values{"every": "1s"}
	all := map[string]values{}
	for _, name := range f.names {
		rpc, pages := f.addr[name+".rpc"], listen(f.addr[name+".http"])
		daemon, _, _ := strings.Cut(name, "-")
		switch daemon {
		case "hbs":
			all[name] = values{
				"listen": rpc, "http": pages, "database": server + f.schema + "?loc=Local&parseTime=true", "redis": optional, "liveness": values{"enabled": false},
			}
		case "judge":
			all[name] = values{
				"rpc": listen(rpc), "http": pages, "data": name, "hbs": values{"servers": of("hbs")}, "alarm": values{"enabled": true, "minInterval": 300, "redis": redis},
				"journal": journal, "union_judge_s": values{"cluster": named("plus_judge")},
			}
		case "plus_judge":
			all[name] = values{
				"rpc": listen(rpc), "http": pages, "data": name, "alarm": values{"enabled": true, "minInterval": 300, "redis": redis}, "journal": journal,
			}
		case "transfer":
			all[name] = values{
				"rpc": listen(rpc), "http": pages, "socket": values{"enabled": false}, "minStep": 1, "spool": values{"dir": "spool"},
				"graph": values{"enabled": false}, "judge": values{"enabled": true, "cluster": named("judge")},
			}
		}
	}
	return all
}

func (f *soakFleet) file(name string) string { return filepath.Join(f.dir, name+".json") }

func (f *soakFleet) start(name string) {
	daemon, _, _ := strings.Cut(name, "-")
	f.proc[name] = testkit.Start(f.t, f.dir, f.bin[daemon], "-c", f.file(name))
}

func (f *soakFleet) run(query string) {
	f.t.Helper()
	if _, err := f.db.Exec("USE " + f.schema + "; " + query); err != nil {
		f.t.Fatalf("%s: %s: %v", f.name, query, err)
	}
}

// first is the rules of the beginning: for each group a template with rules of each
// kind, and one for all that watches and never fires. So a series that an edit leaves
// without other rules keeps its values: how soon a judge forgets those of a series that
// nobody watches is a matter of its clock.
func (f *soakFleet) first() {
	var b strings.Builder
	insert := func(table, columns string, rows []string) {
		fmt.Fprintf(&b, "INSERT INTO %s (%s) VALUES %s;\n", table, columns, strings.Join(rows, ","))
	}
	var hosts, members, groups, templates, bound, strategies, texts, joined []string
	for h := range soakHosts {
		hosts = append(hosts, fmt.Sprintf("(%d, '%s')", h+1, soakHost(h)))
		members = append(members, fmt.Sprintf("(%d, %d)", h%soakGroups+1, h+1))
	}
	for g := 1; g <= soakGroups; g++ {
		groups = append(groups, fmt.Sprintf("(%d, 'group%d')", g, g))
		templates = append(templates, fmt.Sprintf("(%d, 'template%d', %d, 'root')", g, g, g))
		bound = append(bound, fmt.Sprintf("(%d, %d), (%[1]d, 90)", g, g))
		for m := range soakWatched {
			for _, fn := range []int{m + g, 3*m + g + 1} {
				id := 100*g + 10*m + len(strategies)%2
				strategies = append(strategies, soakRule(id, g, m, fn, 50))
			}
		}
		texts = append(texts, soakTextRule(5000+g, g, g))
		joined = append(joined, soakCombination(6000+10*g, g, 2+g%2)...)
	}
	for m := range soakText {
		if m < soakWatched || m >= soakMembers {
			strategies = append(strategies, fmt.Sprintf("(%d, '%s', '', 1, 5, 'all(#1)', '>', '1e12', '', 90)", 900+m, soakMetric(m)))
		}
	}
	texts = append(texts, fmt.Sprintf("(%d, '%s', '', 1, 5, 'all(#1)', '==', '', '', 90, 'string', 'never')", 900+soakText, soakMetric(soakText)))
	hosts = append(hosts, "(1000, '"+soakMarker+"')")
	groups = append(groups, "(1000, 'marker')")
	members = append(members, "(1000, 1000)")
	templates = append(templates, "(90, 'always', 90, 'root'), (99, 'marker', 99, 'root')")
	bound = append(bound, "(1000, 99)")
	strategies = append(strategies, "(999, '"+soakMarker+"', '', 1, 5, 'all(#1)', '<', '0', '', 99)")
	insert("host", "id, hostname", hosts)
	insert("grp", "id, grp_name", groups)
	insert("grp_host", "grp_id, host_id", members)
	insert("tpl", "id, tpl_name, action_id, create_user", templates)
	insert("grp_tpl", "grp_id, tpl_id", bound)
	insert("strategy", soakColumns, strategies)
	insert("strategy", soakTextColumns, texts)
	insert("strategy", soakMemberColumns, joined)
	f.run(b.String())
	f.announce()
}

// soakFuncs look at no more values than a judge keeps of any series: with more, a rule
// that is new waits for values that a judge which reads its journal again still has.
var soakFuncs = []struct {
	fn, op string
	right  float64 // of 50; differences are smaller
}{
	{"all(#1)", ">", 0}, {"all(#3)", ">", 0}, {"max(#4)", ">", 20}, {"min(#3)", ">", 5}, {"avg(#5)", ">", 0}, {"sum(#2)", ">", 60},
	{"diff(#2)", ">", -20}, {"lookup(#2,4)", ">", 0}, {"all(#2)", "<", -20}, {"pdiff(#3)", ">", 40}, {"all(#6)", ">=", 0}, {"kdiff(#2,2)", ">", -40},
}

// soakTextFuncs end with the first of soakWords.
var soakTextFuncs = []struct{ fn, op, right string }{
	{"all(#1)", "==", "down"}, {"all(#2)", "!=", "ok"}, {"lookup(#2,4)", "contains", "o"}, {"all(#1)", "=~", "^(down|error)"}, {"diff(#2)", "", ""}, {"all(#1)", "!~", "^ok$"},
}

const (
	soakColumns       = "id, metric, tags, max_step, priority, func, op, right_value, note, tpl_id"
	soakTextColumns   = soakColumns + ", value_type, right_string"
	soakMemberColumns = soakColumns + ", is_multi, multi_serial, multi_count"
)

func soakTextRule(id, tpl, fn int) string {
	k := soakTextFuncs[fn%len(soakTextFuncs)]
	return fmt.Sprintf("(%d, '%s', '', %d, %d, '%s', '%s', '', 'rule %d', %d, 'string', '%s')", id, soakMetric(soakText), 1+id%4, id%4, k.fn, k.op, id, tpl, k.right)
}

// soakCombination returns n strategies from the id first on that make one alarm. It is
// told once: how often after that is a matter of plus_judge's clock.
func soakCombination(first, tpl, n int) (rows []string) {
	var ids []int64
	for i := range n {
		ids = append(ids, int64(first+i))
	}
	for i, id := range ids {
		rows = append(rows, fmt.Sprintf("(%d, '%s', '', 1, %d, 'all(#1)', '>', '50', 'member %d', %d, 1, '%s', %d)", id, soakMetric(soakMembers+i), id%4, id, tpl, portal.UnionSerial(ids), n))
	}
	return rows
}

func soakRule(id, tpl, m, fn int, right float64) string {
	k := soakFuncs[fn%len(soakFuncs)]
	return fmt.Sprintf("(%d, '%s', '', %d, %d, '%s', '%s', '%.10g', 'rule %d', %d)", id, soakMetric(m), 1+id%4, id%4, k.fn, k.op, right+k.right, id, tpl)
}

// announce tells the hbs that there are rows to be read, as api does, when Redis is
// there.
func (f *soakFleet) announce() bool { return f.pool.RulesChanged(f.t.Context(), "soak") == nil }

// feeding hands what is fed to transfer, one after the other, each until it is taken.
func (f *soakFleet) feeding(stop chan struct{}) {
	c := &http.Client{Timeout: 10 * time.Second}
	url := "http://" + f.addr["transfer-0.http"] + "/api/push"
	for {
		var body []byte
		select {
		case body = <-f.feed:
		case <-stop:
			return
		}
		for {
			resp, err := c.Post(url, "application/json", bytes.NewReader(body))
			if err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					break
				}
			}
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
		f.taken.Add(1)
	}
}

// page reads a page of a daemon.
func (f *soakFleet) page(name, path string, into any) error {
	c := http.Client{Timeout: time.Second}
	resp, err := c.Get("http://" + f.addr[name+".http"] + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(into)
}

// drained says what was fed and is not judged yet.
func (f *soakFleet) drained() error {
	if n := f.given - f.taken.Load(); n > 0 {
		return fmt.Errorf("%s: transfer has %d rounds to take", f.name, n)
	}
	var accounts []struct {
		Addr     string
		State    string
		Spooled  int64
		Stale    int64
		Dropped  int64
		Refused  map[string]int64
		InFlight int64 `json:"in_flight"`
	}
	if err := f.page("transfer-0", "/debug/accounting", &accounts); err != nil {
		return err
	}
	if len(accounts) == 0 {
		return fmt.Errorf("%s: transfer has no judges", f.name)
	}
	for _, a := range accounts {
		if a.Spooled+a.InFlight > 0 {
			return fmt.Errorf("%s: %s has %d points to come, %d in flight, %s", f.name, a.Addr, a.Spooled, a.InFlight, a.State)
		}
		if a.Stale+a.Dropped > 0 || len(a.Refused) > 0 {
			f.t.Fatalf("%s: points were lost on their way: %+v", f.name, a)
		}
	}
	return nil
}

// idle says which of the daemons has a counter that is not zero.
func (f *soakFleet) idle(counter string, daemons ...string) error {
	for _, daemon := range daemons {
		for _, name := range f.of(daemon) {
			var rows struct {
				Data []struct {
					Name string
					Cnt  float64
				}
			}
			if err := f.page(name, "/statistics/all", &rows); err != nil {
				return err
			}
			n := -1.0
			for _, r := range rows.Data {
				if r.Name == counter {
					n = r.Cnt
				}
			}
			if n != 0 {
				return fmt.Errorf("%s: %s of %s is %v", f.name, counter, name, n)
			}
		}
	}
	return nil
}

// joined says which judge has something to say to a plus_judge.
func (f *soakFleet) joined() error {
	if err := f.drained(); err != nil {
		return err
	}
	return f.idle("union.waiting", "judge")
}

// turning says whether the journal of a daemon is being turned, and turns how often it was.
func (f *soakFleet) turning(name string) bool {
	found, _ := filepath.Glob(filepath.Join(f.dir, name, "snapshot-*.tmp"))
	return len(found) > 0
}

func (f *soakFleet) turns() (n int) {
	for _, name := range append(f.of("judge"), f.of("plus_judge")...) {
		found, _ := filepath.Glob(filepath.Join(f.dir, name, "journal-*"))
		last := 1
		for _, path := range found {
			if i, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(path), "journal-")); err == nil {
				last = max(last, i)
			}
		}
		n += last - 1
	}
	return n
}

// inForce says which judge has not the rules of the serial number.
func (f *soakFleet) inForce(serial int) error {
	for _, name := range f.of("judge") {
		var answer struct{ Data []model.Strategy }
		if err := f.page(name, "/strategy/"+soakMarker+"/"+soakMarker, &answer); err != nil {
			return err
		}
		if len(answer.Data) != 1 || answer.Data[0].RightValue != float64(serial) {
			return fmt.Errorf("%s: %s has %+v, want serial %d", f.name, name, answer.Data, serial)
		}
	}
	return nil
}

// versions returns those of the rules at the judges.
func (f *soakFleet) versions() (all []string, err error) {
	for _, name := range f.of("judge") {
		var answer struct{ Version string }
		if err := f.page(name, "/filter/stat", &answer); err != nil {
			return nil, err
		}
		all = append(all, answer.Version)
	}
	return all, nil
}

// pushed says who has events that Redis does not have yet.
func (f *soakFleet) pushed() error { return f.idle("event.spool", "judge", "plus_judge") }

// of returns the names of the daemons of a kind.
func (f *soakFleet) of(daemon string) (all []string) {
	for _, name := range f.names {
		if strings.HasPrefix(name, daemon+"-") {
			all = append(all, name)
		}
	}
	return all
}

// lists returns what stands in the lists of Redis.
func (f *soakFleet) lists() (all []string) {
	f.t.Helper()
	for p := range 10 {
		var list []string
		testkit.Eventually(f.t, 10*time.Second, func() (err error) { // a connection may be of the Redis before
			list, err = redisx.Strings(f.pool.Do(f.t.Context(), "LRANGE", redisx.Event(p), 0, -1))
			return err
		})
		slices.Reverse(list)
		for _, e := range list {
			all = append(all, fmt.Sprint(p, e))
		}
	}
	return all
}

// A soakSeries is one that is fed.
type soakSeries struct {
	host, metric int
	high         bool    // its values are above the thresholds, or a condition holds
	sum          float64 // of a counter
}

// A soakVictim is a daemon, or Redis, that suffers.
type soakVictim struct {
	name string
	next time.Time // when it suffers, or has suffered enough
	undo func()    // nil while it is well
	dead bool      // it was killed; else it is paused
}

// how says how one that is not well suffers.
func (v *soakVictim) how() string {
	if v.dead {
		return "is down"
	}
	return "stands still"
}

// A soakEdited is a strategy that an edit may change.
type soakEdited struct {
	id, tpl, metric int
	resting         bool
}

// A soak feeds two fleets alike; one of them suffers.
type soak struct {
	t           *testing.T
	calm, rough *soakFleet
	rng, fate   *rand.Rand // of what is fed and edited; of who suffers, and when

	base   int64 // time of the first round
	round  int64
	series []*soakSeries
	late   map[int64][]values // by the round in which they are fed

	rules   []*soakEdited
	fresh   [][2]int  // group and metric that no rule has watched yet
	bound   [][2]int  // group and template that an edit bound
	texts   []int     // strategies over texts
	each    []int     // expressions
	silent  []int     // disables that can be cancelled
	lost    int       // hosts that are disabled or in maintenance for good
	unions  [][2]int  // first member and number of members of the combinations
	deck    []int     // kinds of edits that come next
	open    bool      // combinations may be a problem: conditions hold
	steady  bool      // no plus_judge is killed
	began   time.Time // of the last edit
	heard   []string  // what was suffered since the last edit began
	serial  int
	lastID  int
	took    []time.Duration // of each edit, until it was in force at the judges that suffer
	prompt  []time.Duration // the same at those that do not
	edits   map[string]int
	victims []*soakVictim
	longest int // that one of them is paused, milliseconds
	suffer  map[string]int
	end     bool

	differences int
}

func TestSoak(t *testing.T) {
	long := os.Getenv("FALCON_SOAK") != ""
	seed := testkit.Seed(t)
	bin := map[string]string{}
	for _, d := range soakDaemons {
		bin[d.name] = testkit.Program(t, d.name)
	}
	s := &soak{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), fate: rand.New(rand.NewPCG(seed, 2)), late: map[int64][]values{}, lastID: 2000, edits: map[string]int{}, suffer: map[string]int{},
		// The times of points are so old that a judge counts minInterval by them, not by
		// its clock, whenever a point comes: see the clock of Push.
		base: (time.Now().Unix()/60 - 6*24*60) * 60,
	}
	const lastRound = 6*24*60 - 10
	s.longest = 3000
	if long {
		s.longest = 8000
	}
	s.calm, s.rough = newSoakFleet(t, "calm", bin), newSoakFleet(t, "rough", bin)
	s.prepare()
	limit, every := 12*time.Second, int64(6)
	if long {
		limit, every = 10*time.Minute, 12
		if d, err := time.ParseDuration(os.Getenv("FALCON_SOAK")); err == nil {
			limit = d
		}
	}
	pace := time.NewTicker(25 * time.Millisecond)
	defer pace.Stop()
	fed := time.Now()
	for end := fed.Add(limit); time.Now().Before(end) && s.round < lastRound; {
		<-pace.C
		s.chaos()
		if time.Since(fed) < 80*time.Millisecond || len(s.calm.feed)+len(s.rough.feed) > 2 {
			continue
		}
		fed = time.Now()
		s.feed(nil)
		if s.round%every == 0 {
			s.edit()
			if len(s.took)%4 == 2 {
				s.forget()
			}
		}
	}
	s.finish(long)
}

func (s *soak) both() [2]*soakFleet { return [2]*soakFleet{s.calm, s.rough} }

func (s *soak) prepare() {
	for h := range soakHosts {
		for m := range soakText + 1 {
			s.series = append(s.series, &soakSeries{host: h, metric: m})
		}
	}
	n := 0
	for g := 1; g <= soakGroups; g++ {
		for m := range soakMetrics {
			if m >= soakWatched {
				s.fresh = append(s.fresh, [2]int{g, m})
				continue
			}
			for range 2 {
				s.rules = append(s.rules, &soakEdited{id: 100*g + 10*m + n%2, tpl: g, metric: m})
				n++
			}
		}
		s.texts = append(s.texts, 5000+g)
		s.unions = append(s.unions, [2]int{6000 + 10*g, 2 + g%2})
	}
	for _, d := range soakDaemons {
		for i := range d.n {
			if d.suffers {
				s.victims = append(s.victims, &soakVictim{name: fmt.Sprint(d.name, "-", i)})
			}
		}
	}
	s.victims = append(s.victims, &soakVictim{name: "redis"})
	for _, v := range s.victims {
		v.next = time.Now().Add(s.between(0, 3000))
	}
	for _, f := range s.both() {
		s.until(20*time.Second, func() error { return f.inForce(0) })
	}
}

// between returns a time of some milliseconds.
func (s *soak) between(least, most int) time.Duration {
	return time.Duration(least+s.fate.IntN(most-least)) * time.Millisecond
}

// rest returns how long a victim is left alone.
func (s *soak) rest(v *soakVictim) time.Duration {
	switch {
	case v.name == "redis":
		return s.between(4000, 15000)
	case strings.HasPrefix(v.name, "hbs-"):
		return s.between(2000, 15000)
	}
	return s.between(500, 8000)
}

// until waits, and lets them suffer meanwhile.
func (s *soak) until(limit time.Duration, try func() error) {
	s.t.Helper()
	testkit.Eventually(s.t, limit, func() error {
		s.chaos()
		return try()
	})
}

// chaos kills, pauses and starts again what is due.
func (s *soak) chaos() {
	for _, v := range s.victims {
		if s.end || time.Now().Before(v.next) {
			continue
		}
		if v.undo != nil {
			v.undo()
			v.undo, v.dead, v.next = nil, false, time.Now().Add(s.rest(v))
			s.note(v.name, "is back")
			continue
		}
		f := s.rough
		kind, _, _ := strings.Cut(v.name, "-")
		kept := kind == "judge" || kind == "plus_judge"
		switch {
		case v.name == "redis":
			if s.fate.IntN(2) == 0 {
				f.redis.Kill()
			} else {
				f.redis.KillBehind(s.between(0, 2000))
				s.suffer["redis behind"]++
			}
			v.undo, v.dead, v.next = f.redis.Start, true, time.Now().Add(s.between(0, 1500))
			s.suffer["redis restarted"]++
		case s.fate.IntN(3) == 0 || s.steady && kind == "plus_judge":
			longest := s.longest
			if s.steady && kind == "plus_judge" {
				longest = 1500 // it is waited for
			}
			v.undo, v.next = f.proc[v.name].Pause(), time.Now().Add(s.between(100, longest))
			s.suffer[v.name+" paused"]++
		default:
			if kept && (s.suffer[kind+" killed in a turn"] == 0 || s.fate.IntN(3) == 0) {
				s.waitTurning(v.name)
			}
			f.proc[v.name].Kill()
			v.undo, v.dead, v.next = func() { f.start(v.name) }, true, time.Now().Add(s.between(0, 2000))
			s.suffer[v.name+" killed"]++
			if kept && f.turning(v.name) {
				s.suffer[kind+" killed in a turn"]++
			}
		}
		s.note(v.name, v.how())
	}
}

// note remembers what may hold an edit up.
func (s *soak) note(name, what string) {
	if !strings.HasPrefix(name, "plus_judge-") {
		s.heard = append(s.heard, fmt.Sprintf("%.1fs %s %s", time.Since(s.began).Seconds(), name, what))
	}
}

// waitTurning waits for the moment, a second away at most, in which a journal turns.
func (s *soak) waitTurning(name string) {
	look := time.NewTicker(200 * time.Microsecond)
	defer look.Stop()
	for end := time.Now().Add(1500 * time.Millisecond); !s.rough.turning(name) && time.Now().Before(end); {
		<-look.C
	}
}

// peace ends the suffering for good.
func (s *soak) peace() {
	for _, v := range s.victims {
		if v.undo != nil {
			v.undo()
			v.undo = nil
		}
	}
	s.end = true
}

// feed gives both fleets the next round: a point of each series, but for some that are
// missing, late or repeated with another value. value makes it of all that value; only
// limits it to one metric.
func (s *soak) feed(value *float64, only ...int) {
	ts := s.base + 60*s.round
	items := s.late[s.round]
	delete(s.late, s.round)
	for _, x := range s.series {
		if x.metric >= soakMembers && x.metric < soakText {
			continue // see combine
		}
		if s.rng.IntN(8) == 0 {
			x.high = !x.high
		}
		v := 10 + 35*s.rng.Float64()
		if x.high {
			v = 50 + 50*s.rng.Float64()
		}
		if value != nil {
			v = *value
		}
		v = float64(int(100*v)) / 100
		typ := model.Gauge
		if x.metric == soakCounter {
			typ = model.Counter
			x.sum += 60 * v
			v = x.sum
		}
		dice := s.rng.IntN(100)
		if len(only) > 0 && !slices.Contains(only, x.metric) {
			continue
		}
		it := item(soakHost(x.host), soakMetric(x.metric), typ, "", ts, v)
		if x.metric == soakText {
			it["value"] = soakWords[0]
			if value == nil {
				it["value"] = soakWords[int(v)%len(soakWords)]
			}
		}
		switch {
		case value != nil:
			items = append(items, it)
		case dice < 5: // missing
		case dice < 9:
			when := s.round + 1 + int64(s.rng.IntN(4))
			s.late[when] = append(s.late[when], it)
		case dice < 12: // repeated, at once and later
			again := maps.Clone(it)
			again["value"] = v + 30
			if x.metric == soakText {
				again["value"] = soakWords[1]
			}
			items = append(items, it, again)
			when := s.round + int64(1+s.rng.IntN(14))
			s.late[when] = append(s.late[when], again)
		default:
			items = append(items, it)
		}
	}
	s.give(items)
}

// give hands the points of a round to both.
func (s *soak) give(items []values) {
	s.round++
	body, err := json.Marshal(items)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range s.both() {
		s.until(60*time.Second, func() error {
			select {
			case f.feed <- body:
				f.given++
				return nil
			default:
				return fmt.Errorf("%s: transfer takes nothing", f.name)
			}
		})
	}
}

func (s *soak) drain() {
	s.t.Helper()
	for _, f := range s.both() {
		s.until(60*time.Second, f.drained)
	}
}

// edit changes the rules of both fleets alike, when all points so far are judged, and
// goes on when the change is in force at all judges.
func (s *soak) edit() {
	s.drain()
	what, query := s.change()
	s.edits[what]++
	s.serial++
	query = fmt.Sprintf("START TRANSACTION; %s; UPDATE strategy SET right_value = '%d' WHERE id = 999; COMMIT", query, s.serial)
	s.calm.run(query)
	s.rough.run(query)
	s.began, s.heard = time.Now(), nil
	for _, v := range s.victims {
		if v.undo != nil {
			s.note(v.name, v.how())
		}
	}
	for _, f := range s.both() {
		s.until(20*time.Second, func() error {
			if !f.announce() {
				return fmt.Errorf("%s: Redis hears nothing", f.name)
			}
			return nil
		})
	}
	var calm, rough time.Duration
	s.until(90*time.Second, func() error {
		var waits error
		for took, f := range map[*time.Duration]*soakFleet{&calm: s.calm, &rough: s.rough} {
			if *took > 0 {
				continue
			}
			if err := f.inForce(s.serial); err != nil {
				waits = err
			} else {
				*took = time.Since(s.began)
			}
		}
		return waits
	})
	s.took, s.prompt = append(s.took, rough), append(s.prompt, calm)
	if rough > 9*time.Second {
		s.t.Logf("an edit took %v: %s", rough.Round(100*time.Millisecond), strings.Join(s.heard, ", "))
	}
	// What was read between two tables of one change is not the last of it.
	s.until(20*time.Second, func() error {
		a, err := s.calm.versions()
		if err != nil {
			return err
		}
		b, err := s.rough.versions()
		if err == nil && len(slices.Compact(append(a, b...))) > 1 {
			err = fmt.Errorf("the rules are of the versions %v and %v", a, b)
		}
		return err
	})
	// A transfer hears with an acknowledgement that series are not muted any more.
	s.feed(nil, 0)
	s.drain()
	s.combine()
}

// combine has conditions begin to hold on some hosts, or all that hold end, one metric
// after the other: what a combination tells has the last events of all its members in it,
// so the next one is fed when all of this one is heard. Judges are killed meanwhile and
// plus_judges paused. They are not killed: after a restart a plus_judge begins no problem
// until it has heard of all conditions again, and has of one that goes on what it began
// with, not what was refreshed since (decision 11).
func (s *soak) combine() {
	s.steady = true
	defer func() { s.steady = false }()
	s.until(30*time.Second, func() error {
		for _, v := range s.victims {
			if v.dead && strings.HasPrefix(v.name, "plus_judge-") {
				return fmt.Errorf("%s is down", v.name)
			}
		}
		return nil
	})
	order := s.rng.Perm(soakText - soakMembers)
	if s.open { // a refresh, for who was restarted
		for _, m := range order {
			s.member(soakMembers+m, nil)
		}
	}
	for _, m := range order {
		s.member(soakMembers+m, func() bool { return !s.open && s.rng.IntN(5) > 0 })
	}
	s.open = !s.open
}

// member feeds one metric of combinations, and waits until all is heard of it. high says
// which hosts it holds on from now on; nil for no change.
func (s *soak) member(metric int, high func() bool) {
	var items []values
	for _, x := range s.series {
		if x.metric != metric {
			continue
		}
		if high != nil {
			x.high = high()
		}
		v := float64(s.rng.IntN(30))
		if x.high {
			v += 60
		}
		items = append(items, item(soakHost(x.host), soakMetric(metric), model.Gauge, "", s.base+60*s.round, v))
	}
	s.late[s.round+1] = append(s.late[s.round+1], s.late[s.round]...)
	delete(s.late, s.round)
	s.give(items)
	for _, f := range s.both() {
		s.until(60*time.Second, f.joined)
	}
}

// change returns the SQL of a change.
func (s *soak) change() (what, query string) {
	pick := func() *soakEdited { return s.rules[s.rng.IntN(len(s.rules))] }
	threshold := 45 + 13*float64(s.rng.IntN(100))/100
	fn := s.rng.IntN(len(soakFuncs))
	const columns = "INSERT INTO strategy (" + soakColumns + ") VALUES "
	s.lastID += 10 // a combination has some of them
	now := time.Now().Unix()
	disable := func(kind portal.DisableType, host, tpl, strategy, grp int) string {
		return fmt.Sprintf("INSERT INTO alarm_disable (id, type, host_id, tpl_id, strategy_id, grp_id, begin_ts, end_ts, duration, operator) VALUES (%d, %d, %d, %d, %d, %d, %d, %d, '3h', 'soak')",
			s.lastID, kind, host, tpl, strategy, grp, now-60, now+3*3600)
	}
	text := s.rng.IntN(len(soakTextFuncs))
	if len(s.deck) == 0 { // each kind comes as often as any other
		s.deck = s.rng.Perm(18)
	}
	kind := s.deck[0]
	s.deck = s.deck[1:]
	switch kind {
	case 0:
		if len(s.fresh) > 0 {
			i := s.rng.IntN(len(s.fresh))
			at := s.fresh[i]
			s.fresh = slices.Delete(s.fresh, i, i+1)
			return "first rule of a metric", columns + soakRule(s.lastID, at[0], at[1], fn, threshold)
		}
	case 1:
		g, m := 1+s.rng.IntN(soakGroups), s.rng.IntN(soakWatched)
		s.rules = append(s.rules, &soakEdited{id: s.lastID, tpl: g, metric: m})
		return "new rule", columns + soakRule(s.lastID, g, m, fn, threshold)
	case 2:
		if len(s.rules) > 10 {
			i := s.rng.IntN(len(s.rules))
			id := s.rules[i].id
			s.rules = slices.Delete(s.rules, i, i+1)
			return "rule deleted", fmt.Sprintf("DELETE FROM strategy WHERE id = %d", id)
		}
	case 3:
		r := pick()
		r.resting = !r.resting
		hours := "run_begin = '', run_end = ''"
		if r.resting { // a minute, half a day from now
			at := time.Now().Add(12 * time.Hour).Format("15:04")
			hours = fmt.Sprintf("run_begin = '%s', run_end = '%[1]s'", at)
		}
		return "hours", fmt.Sprintf("UPDATE strategy SET %s WHERE id = %d", hours, r.id)
	case 4:
		g, tpl := 1+s.rng.IntN(soakGroups), s.lastID
		s.bound = append(s.bound, [2]int{g, tpl})
		return "template bound", fmt.Sprintf("INSERT INTO tpl (id, tpl_name, action_id, create_user) VALUES (%d, 'soak%[1]d', %[1]d, 'root'); INSERT INTO grp_tpl (grp_id, tpl_id) VALUES (%d, %[1]d); ", tpl, g) +
			columns + soakRule(s.lastID, tpl, s.rng.IntN(soakWatched), fn, threshold)
	case 5:
		if len(s.bound) > 0 {
			at := s.bound[0]
			s.bound = s.bound[1:]
			return "template unbound", fmt.Sprintf("DELETE FROM grp_tpl WHERE grp_id = %d AND tpl_id = %d", at[0], at[1])
		}
	case 6:
		return "note, priority, max", fmt.Sprintf("UPDATE strategy SET note = 'edited %d', priority = %d, max_step = %d WHERE id = %d", s.serial, s.rng.IntN(4), s.rng.IntN(5), pick().id)
	case 7:
		s.each = append(s.each, s.lastID)
		k, of := soakFuncs[fn], fmt.Sprintf("each(metric=%s endpoint=%s)", soakMetric(s.rng.IntN(soakWatched)), soakHost(s.rng.IntN(soakHosts)))
		return "new expression", fmt.Sprintf("INSERT INTO expression (id, expression, func, op, right_value, max_step, priority, note, action_id, create_user) VALUES (%d, '%s', '%s', '%s', '%.10g', 3, 2, 'expression', 77, 'root')",
			s.lastID, of, k.fn, k.op, threshold+k.right)
	case 8:
		if len(s.each) > 0 {
			i, k := s.rng.IntN(len(s.each)), soakFuncs[fn]
			id := s.each[i]
			if s.rng.IntN(3) == 0 {
				s.each = slices.Delete(s.each, i, i+1)
				return "expression deleted", fmt.Sprintf("DELETE FROM expression WHERE id = %d", id)
			}
			return "expression", fmt.Sprintf("UPDATE expression SET func = '%s', op = '%s', right_value = '%.10g' WHERE id = %d", k.fn, k.op, threshold+k.right, id)
		}
	case 9:
		s.texts = append(s.texts, s.lastID)
		return "new rule about texts", "INSERT INTO strategy (" + soakTextColumns + ") VALUES " + soakTextRule(s.lastID, 1+s.rng.IntN(soakGroups), text)
	case 10:
		if i := s.rng.IntN(len(s.texts)); len(s.texts) > 3 && s.rng.IntN(3) == 0 {
			id := s.texts[i]
			s.texts = slices.Delete(s.texts, i, i+1)
			return "rule about texts deleted", fmt.Sprintf("DELETE FROM strategy WHERE id = %d", id)
		} else {
			k := soakTextFuncs[text]
			return "rule about texts", fmt.Sprintf("UPDATE strategy SET func = '%s', op = '%s', right_string = '%s' WHERE id = %d", k.fn, k.op, k.right, s.texts[i])
		}
	case 11, 12: // each of these leaves every series a rule
		switch kind := portal.DisableTemplate + portal.DisableType(s.rng.IntN(4)); {
		case kind == portal.DisableStrategy || kind == portal.DisableStrategyOnHost:
			host := 0
			if kind == portal.DisableStrategyOnHost {
				host = 1 + s.rng.IntN(soakHosts)
			}
			s.silent = append(s.silent, s.lastID)
			return "disabled: " + kind.String(), disable(kind, host, 0, pick().id, 0)
		case len(s.bound) > 0:
			at := s.bound[s.rng.IntN(len(s.bound))]
			if kind == portal.DisableTemplate {
				at[0] = 0
			}
			s.silent = append(s.silent, s.lastID)
			return "disabled: " + kind.String(), disable(kind, 0, at[1], 0, at[0])
		}
	case 13:
		if len(s.silent) > 0 {
			i := s.rng.IntN(len(s.silent))
			id := s.silent[i]
			s.silent = slices.Delete(s.silent, i, i+1)
			return "disable cancelled", fmt.Sprintf("UPDATE alarm_disable SET cancel_ts = %d, cancel_user = 'soak' WHERE id = %d", now, id)
		}
	case 14: // for good: how soon a judge forgets series that no rule watches is up to its clock
		if s.lost < soakHosts/5 && !s.open {
			s.lost++
			id := soakHosts + 1 - s.lost
			if s.lost%2 == 0 {
				return "disabled: " + portal.DisableHost.String(), disable(portal.DisableHost, id, 0, 0, 0)
			}
			return "maintenance", fmt.Sprintf("UPDATE host SET maintain_begin = %d, maintain_end = %d WHERE id = %d", now-60, now+3*3600, id)
		}
	case 15: // every second host is of an environment
		tpl, env := s.lastID, fmt.Sprint("env", s.rng.IntN(2))
		var hosts []string
		for h := s.rng.IntN(2); h < soakHosts; h += 2 {
			hosts = append(hosts, fmt.Sprintf("('%s', '%s')", soakHost(h), env))
		}
		return "environment", fmt.Sprintf("INSERT INTO tpl (id, tpl_name, action_id, create_user) VALUES (%d, 'soak%[1]d', %[1]d, 'root'); INSERT INTO grp_tpl_env (grp_id, tpl_id, env) VALUES (%d, %d, '%s'); "+
			"REPLACE INTO host_env (hostname, env) VALUES %s; ", tpl, 1+s.rng.IntN(soakGroups), tpl, env, strings.Join(hosts, ",")) + columns + soakRule(s.lastID, tpl, s.rng.IntN(soakWatched), fn, threshold)
	case 16, 17:
		if s.open {
			break // a rule that changes closes its problem by the clock
		}
		i := s.rng.IntN(len(s.unions))
		at := s.unions[i]
		switch s.rng.IntN(4) {
		case 0:
			n := 2 + s.rng.IntN(2)
			s.unions = append(s.unions, [2]int{s.lastID, n})
			return "new combination", "INSERT INTO strategy (" + soakMemberColumns + ") VALUES " + strings.Join(soakCombination(s.lastID, 1+s.rng.IntN(soakGroups), n), ",")
		case 1:
			if len(s.unions) > 3 { // whole, or one member: what is left is silent
				s.unions = slices.Delete(s.unions, i, i+1)
				return "combination deleted", fmt.Sprintf("DELETE FROM strategy WHERE id BETWEEN %d AND %d", at[0]+s.rng.IntN(2), at[0]+at[1]-1)
			}
		}
		return "member of a combination", fmt.Sprintf("UPDATE strategy SET right_value = '%.10g', priority = %d, note = 'edited %d' WHERE id = %d",
			threshold, s.rng.IntN(4), s.serial, at[0]+s.rng.IntN(at[1]))
	}
	r := pick()
	k := soakFuncs[fn]
	return "threshold", fmt.Sprintf("UPDATE strategy SET func = '%s', op = '%s', right_value = '%.10g' WHERE id = %d", k.fn, k.op, threshold+k.right, r.id)
}

// forget lets the Redis of the fleet that suffers lose its memory, once everything told
// is in it: what judges push again then is known.
func (s *soak) forget() {
	s.drain()
	redis := s.victims[len(s.victims)-1]
	s.until(60*time.Second, func() error {
		if redis.undo != nil {
			return fmt.Errorf("Redis is away")
		}
		return s.rough.pushed()
	})
	if redis.undo != nil {
		s.t.Fatal("Redis went away meanwhile")
	}
	s.rough.told = append(s.rough.told, s.rough.lists())
	s.rough.redis.Kill()
	if err := os.RemoveAll(filepath.Join(filepath.Dir(s.rough.redis.Socket), "appendonlydir")); err != nil {
		s.t.Fatal(err)
	}
	s.rough.redis.Start()
	redis.next = time.Now().Add(s.rest(redis))
	s.suffer["redis emptied"]++
	s.note(redis.name, "is emptied")
}

// onlyOne returns the keys that one of two maps has and the other has not.
func onlyOne[V any](a, b map[string]V) (keys []string) {
	for _, m := range [][2]map[string]V{{a, b}, {b, a}} {
		for k := range m[0] {
			if _, ok := m[1][k]; !ok {
				keys = append(keys, k)
			}
		}
	}
	slices.Sort(keys)
	return keys
}

// finish ends all problems, and compares what was told.
func (s *soak) finish(long bool) {
	t := s.t
	if len(s.took) == 0 { // a slow machine
		s.edit()
	}
	if s.open {
		s.combine()
	}
	quiet := 40.0
	for range 20 {
		s.feed(&quiet)
	}
	s.drain()
	s.peace()
	for _, f := range s.both() {
		s.until(60*time.Second, f.drained)
		s.until(60*time.Second, f.pushed)
	}
	calm, _ := s.events(s.calm)
	var rough map[string]int
	var again int
	// A judge that has nothing to push notices within a second or two that Redis was killed.
	ended := time.Now()
	s.until(time.Minute, func() error {
		if rough, again = s.events(s.rough); len(onlyOne(calm, rough)) > 0 && time.Since(ended) < 20*time.Second {
			return fmt.Errorf("what was told differs")
		}
		return nil
	})
	for _, e := range slices.Sorted(maps.Keys(calm)) {
		if rough[e] == 0 {
			s.differs("only without restarts", e)
		}
	}
	for _, e := range slices.Sorted(maps.Keys(rough)) {
		if calm[e] == 0 {
			s.differs("only with restarts", e)
		}
	}
	if long {
		// Rules that are gone close their problems by the clock, a minute after a judge
		// saw that they are gone.
		defer func() {
			if t.Failed() {
				for _, key := range onlyOne(s.closed(s.calm), s.closed(s.rough)) {
					id, _, _ := strings.Cut(key, " ")
					s.explain(id)
				}
			}
		}()
		s.until(4*time.Minute, func() error {
			a, b := s.closed(s.calm), s.closed(s.rough)
			if !maps.Equal(a, b) || time.Since(ended) < 90*time.Second {
				return fmt.Errorf("without restarts %d problems were closed, with them %d: only one of them has %q", len(a), len(b), onlyOne(a, b))
			}
			return nil
		})
		testkit.Outcome(t, "%d problems of rules that are gone were closed by both", len(s.closed(s.calm)))
	}
	first, more, oks, joined, said := 0, 0, 0, 0, 0
	for e := range calm {
		switch {
		case strings.Contains(e, `"id":"m_`):
			joined++
		case strings.Contains(e, `"leftString":"`):
			said++
		}
		switch {
		case strings.Contains(e, `"status":"OK"`):
			oks++
		case strings.Contains(e, `"currentStep":1,`):
			first++
		default:
			more++
		}
	}
	slices.Sort(s.took)
	slices.Sort(s.prompt)
	for _, kind := range []string{"judge", "plus_judge"} {
		if long && s.suffer[kind+" killed in a turn"] == 0 {
			t.Errorf("no %s was killed while its journal turned", kind)
		}
	}
	testkit.Outcome(t, "%d rounds of %d series; %d events in both runs: %d problems, told again %d times, %d ends; pushed again to an empty Redis: %d",
		s.round, len(s.series), len(calm), first, more, oks, again)
	testkit.Outcome(t, "%d of them are of combinations, %d about texts", joined, said)
	testkit.Outcome(t, "journals turned %d times; where nobody suffers %d times", s.rough.turns(), s.calm.turns())
	testkit.Outcome(t, "%d edits, in force at all judges that suffer after %v at most, median %v", len(s.took), s.took[len(s.took)-1].Round(time.Millisecond), s.took[len(s.took)/2].Round(time.Millisecond))
	testkit.Outcome(t, "edits: %v", s.edits)
	var spread []string
	for _, most := range []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second} {
		n, _ := slices.BinarySearch(s.took, most)
		spread = append(spread, fmt.Sprintf("%d within %v", n, most))
	}
	testkit.Outcome(t, "of them in force %s", strings.Join(spread, ", "))
	testkit.Outcome(t, "in force at the judges that do not after %v at most, median %v", s.prompt[len(s.prompt)-1].Round(time.Millisecond), s.prompt[len(s.prompt)/2].Round(time.Millisecond))
	testkit.Outcome(t, "suffered: %v", s.suffer)
	if first < 50 || more < 20 || oks < 50 || joined < 10 || said < 10 {
		t.Errorf("so little was told that it says nothing: %d, %d, %d, of combinations %d, about texts %d", first, more, oks, joined, said)
	}
}

// events counts what a fleet told, but for closings; again is what was pushed into a
// Redis that had lost it.
func (s *soak) events(f *soakFleet) (told map[string]int, again int) {
	told = map[string]int{}
	for _, memory := range append(slices.Clip(f.told), f.lists()) {
		here := map[string]bool{}
		for _, e := range memory {
			if strings.Contains(e, `"closed":`) {
				continue
			}
			if here[e] {
				s.differs(f.name+": told twice", e)
			}
			if here[e] = true; told[e] > 0 {
				again++
			}
			told[e]++
		}
	}
	return told, again
}

// closed returns the events that rules which are gone have closed.
func (s *soak) closed(f *soakFleet) map[string]bool {
	closed, resting := map[string]bool{}, map[string]bool{}
	for i := range s.lost {
		resting[soakHost(soakHosts-1-i)] = true
	}
	for _, memory := range append(slices.Clip(f.told), f.lists()) {
		for _, e := range memory {
			var ev model.Event
			if err := json.Unmarshal([]byte(e[1:]), &ev); err != nil {
				s.t.Fatal(err)
			}
			if ev.Closed != "" && !resting[ev.Endpoint] {
				closed[fmt.Sprint(ev.Id, " ", ev.ActionId(), " ", ev.Closed)] = true
			}
		}
	}
	return closed
}

// explain logs what was told of an event id, and what the judges have of it.
func (s *soak) explain(id string) {
	for _, f := range s.both() {
		for i, memory := range append(slices.Clip(f.told), f.lists()) {
			for _, e := range memory {
				if strings.Contains(e, `"id":"`+id+`"`) {
					s.t.Logf("%s, memory %d of Redis: %s", f.name, i, e)
				}
			}
		}
		for _, name := range f.of("judge") {
			var events []json.RawMessage
			if err := f.page(name, "/events", &events); err != nil {
				s.t.Logf("%s, %s: %v", f.name, name, err)
			}
			for _, e := range events {
				if strings.Contains(string(e), `"`+id+`"`) {
					s.t.Logf("%s, %s has %s", f.name, name, e)
				}
			}
		}
	}
}

// differs reports an event, as long as a person may want to read them.
func (s *soak) differs(what, event string) {
	switch s.differences++; {
	case s.differences <= 20:
		s.t.Errorf("%s: %s", what, event)
		var e model.Event
		if err := json.Unmarshal([]byte(event[1:]), &e); err == nil && s.differences <= 3 {
			s.explain(e.Id)
		}
	case s.differences == 21:
		s.t.Error("and so on")
	}
}

// The tests that the page of reliability names are there.
func TestReliabilityPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(testkit.Root(), "docs", "reliability.md"))
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, pattern := range []string{"modules/*/*_test.go", "modules/*/*/*_test.go", "common/*/*_test.go", "deploy/*_test.go"} {
		files, err := filepath.Glob(filepath.Join(testkit.Root(), pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, b...)
		}
	}
	names := regexp.MustCompile("`(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(string(page), -1)
	if len(names) < 10 {
		t.Fatalf("the page names %d tests", len(names))
	}
	for _, n := range names {
		if !bytes.Contains(all, []byte("func "+n[1]+"(")) {
			t.Errorf("there is no %s", n[1])
		}
	}
}
