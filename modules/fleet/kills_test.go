package fleet

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/failpoint"
	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/redisx"
	"falcon/common/rpc"
	"falcon/common/stream"
	"falcon/common/testkit"
)

// killLoops are what TestKillLoop kills, how often, and how often in its short form.
var killLoops = []struct {
	name        string
	long, short int
}{
	{"transfer", 50, 3},
	{"graph", 100, 3},
	{"judge", 50, 3},
	{"plus_judge", 20, 2},
	{"alarm", 50, 3},
	{"redis", 10, 2},
	{"mariadb", 5, 1},
	{"hbs", 20, 2},
	{"agent", 20, 3},
}

// killDaemons are the programs of the chain, in the order of their start. There are two
// hbs: one compiles for both.
var killDaemons = []string{"hbs-0", "hbs-1", "graph-0", "plus_judge-0", "judge-0", "transfer-0", "alarm-0", "agent-0"}

const (
	killMetric = "kill.value"
	killHosts  = 8 // of a feeder
	killStep   = 1 // s
	// killPeriod is for how many rounds a value stays on its side of the threshold.
	killPeriod = 60
	killHigh   = 1 << 20 // what is added to a value above the threshold
)

// killPace is how long a feeder waits after a round.
const killPace = 10 * time.Millisecond

// A killChain is the whole way of a point to a person, as programs, and a ledger of what
// was acknowledged at its mouths.
type killChain struct {
	t       testing.TB
	dir     string
	bin     string
	first   int64 // time of round 0
	addr    map[string]string
	redis   *testkit.RedisServer
	pool    *redisx.Pool
	mariadb *testkit.MariaDBServer
	db      *sql.DB
	prefix  string                   // of the databases
	spool   int                      // MB
	lined   bool                     // the programs reach each other, and the stores, by lines
	lines   map[string]*testkit.Line // by who dials and whom, such as "judge-0 redis"
	sink    *killSink

	mu   sync.Mutex
	proc map[string]*testkit.Process
	all  []*testkit.Process
	rng  *rand.Rand

	gate    sync.RWMutex // a round holds it for reading
	feeders []*killFeeder
	unions  *killUnions
	stop    chan struct{}
	fed     sync.WaitGroup

	serial  atomic.Int64 // of the rule that is edited
	checked int64        // rounds that verify has seen all of
}

// A killFeeder pushes a round of numbered points, again until they are acknowledged, and
// then the next.
type killFeeder struct {
	name  string
	base  int // where its series are in their period
	send  func(items []*model.MetricValue) error
	acked atomic.Int64 // rounds
	again atomic.Int64 // sendings that were not answered for
}

func (f *killFeeder) host(i int) string { return fmt.Sprintf("kill-%s-%02d", f.name, i) }

// high says on which side of the threshold the value of a round is.
func (f *killFeeder) high(i int, round int64) bool {
	return round >= 0 && (round+int64(f.base+7*i))/killPeriod%2 == 1
}

func (f *killFeeder) value(i int, round int64) float64 {
	if f.high(i, round) {
		return float64(round) + killHigh
	}
	return float64(round)
}

// A killSink is the gateway that people are told by. It answers each message and counts.
type killSink struct {
	mu    sync.Mutex
	told  map[string]*killTold
	order map[string][]string // the statuses of a host, each when it was told first
	n     int
	odd   []string // messages that it can not read
}

// A killTold is how often an event was told, and how often as a possible repeat.
type killTold struct{ plain, marked int }

var killText = regexp.MustCompile(`^\[P\d\]\[(PROBLEM|OK)\]\[(.*?)\].*\[O1 (.*?)\]( \(possible repeat\))?$`)

func (s *killSink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text := r.PostFormValue("content")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	m := killText.FindStringSubmatch(text)
	if m == nil {
		s.odd = append(s.odd, text)
		return
	}
	at, err := time.ParseInLocation(time.DateTime, m[3], time.UTC)
	if err != nil {
		s.odd = append(s.odd, text)
		return
	}
	key := killEvent(m[2], m[1], at.Unix())
	if s.told[key] == nil {
		s.told[key] = &killTold{}
		s.order[m[2]] = append(s.order[m[2]], m[1])
	}
	if m[4] != "" {
		s.told[key].marked++
	} else {
		s.told[key].plain++
	}
}

func (s *killSink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

func killEvent(host, status string, at int64) string { return fmt.Sprint(host, " ", status, " ", at) }

// newKillChain starts a chain under load. What each set says of it, such as spool and lined,
// is said before anything of it is there but its folder.
func newKillChain(t *testing.T, set ...func(k *killChain)) *killChain {
	k := &killChain{
		spool: 2, lines: map[string]*testkit.Line{},
		t: t, dir: t.TempDir(), addr: map[string]string{}, proc: map[string]*testkit.Process{},
		rng: rand.New(rand.NewPCG(testkit.Seed(t), 1)), sink: &killSink{told: map[string]*killTold{}, order: map[string][]string{}}, stop: make(chan struct{}), prefix: "kill_",
		redis: testkit.Redis(t, "--appendonly", "yes"), mariadb: testkit.MariaDB(t),
	}
	for _, s := range set {
		s(k)
	}
	k.bin = testkit.Failpoints(t, "hbs", "graph", "plus_judge", "judge", "transfer", "alarm", "agent")
	// The times of points run faster than the clock, from as long ago as graph opens hours
	// for: in the long form it seals some.
	k.first = time.Now().Unix() - 11*3600
	for _, name := range killDaemons {
		k.addr[name+".rpc"], k.addr[name+".http"] = testkit.FreeAddr(t), testkit.FreeAddr(t)
	}
	settings := redisx.DefaultConfig()
	settings.Addr = conf.DSN(k.redis.Addr())
	var err error
	if k.pool, err = redisx.New(settings); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.pool.Close() })
	sink := httptest.NewServer(k.sink)
	t.Cleanup(sink.Close)
	k.feedFrom()
	k.rules()
	for name, cfg := range k.configure(sink.URL) {
		b, err := json.Marshal(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(k.dir, name+".json"), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range killDaemons {
		k.start(name, "")
	}
	for _, name := range killDaemons {
		k.healthy(name)
	}
	testkit.Eventually(t, 30*time.Second, func() error { return k.inForce(k.feeders[0].host(0), killMetric, killHigh/2) })
	for _, f := range k.feeders {
		k.fed.Go(func() { k.feed(f) })
	}
	k.fed.Go(func() { k.feedUnions() })
	t.Cleanup(func() {
		close(k.stop)
		k.fed.Wait()
	})
	return k
}

// dsn is where a database is.
func (k *killChain) dsn(name string) string {
	return k.mariadb.DSN + k.prefix + name + "?loc=Local&parseTime=true"
}

// way is where a program reaches another one, or a store, that listens at addr, or at
// unix: and a path.
func (k *killChain) way(from, to, addr string) string {
	if !k.lined {
		return addr
	}
	name := from + " " + to
	if k.lines[name] == nil {
		network := "tcp"
		if path, ok := strings.CutPrefix(addr, "unix:"); ok {
			network, addr = "unix", path
		}
		k.lines[name] = testkit.NewLine(k.t, network, addr)
	}
	return k.lines[name].Addr
}

func (k *killChain) configure(sink string) map[string]values {
	listen := func(addr string) values { return values{"enabled": true, "listen": addr} }
	peer := func(from, to string) string { return k.way(from, to, k.addr[to+".rpc"]) }
	redis := func(from string) string { return k.way(from, "redis", k.redis.Addr()) }
	mariadb := func(from, name string) string {
		return strings.Replace(k.dsn(name), k.mariadb.Addr(), k.way(from, "mariadb", k.mariadb.Addr()), 1)
	}
	// A spool's file ends after a few seconds, and a journal turns each second.
	all := map[string]values{
		"graph-0": {"data": "graph", "db": values{"dsn": mariadb("graph-0", "graph")}},
		"judge-0": {
			"data": "judge", "hbs": values{"servers": []string{peer("judge-0", "hbs-0"), peer("judge-0", "hbs-1")}}, "journal": values{"every": "1s"},
			"alarm":         values{"enabled": true, "minInterval": 0, "redis": values{"addr": redis("judge-0")}},
			"union_judge_s": values{"cluster": values{"plus-00": peer("judge-0", "plus_judge-0")}},
		},
		"plus_judge-0": {
			"data": "plus_judge", "hbs": values{"servers": []string{peer("plus_judge-0", "hbs-0")}}, "journal": values{"every": "1s"},
			"alarm": values{"enabled": true, "minInterval": 0, "redis": values{"addr": redis("plus_judge-0")}},
		},
		"transfer-0": {
			"socket": values{"enabled": false}, "minStep": 1, "spool": values{"dir": "transfer", "maxSize": k.spool},
			"graph": values{"enabled": true, "cluster": values{"graph-0": peer("transfer-0", "graph-0")}},
			"judge": values{"enabled": true, "cluster": values{"judge-0": peer("transfer-0", "judge-0")}},
		},
		"alarm-0": {
			"redis": values{"addr": redis("alarm-0")}, "api": values{"im": sink + "/im"}, "timezone": "UTC",
			"falcon_portal": values{"addr": mariadb("alarm-0", "alarms")}, "db": values{"falcon_portal": mariadb("alarm-0", "falcon_portal"), "uic": mariadb("alarm-0", "uic"), "patience": "1s"},
		},
		"agent-0": {
			"hostname": "kill-agent", "heartbeat": values{"enabled": false}, "spool": values{"dir": "agent", "maxSize": k.spool},
			"transfer": values{"enabled": true, "addrs": []string{peer("agent-0", "transfer-0")}, "interval": 3600},
		},
	}
	for _, name := range []string{"hbs-0", "hbs-1"} {
		all[name] = values{"listen": k.addr[name+".rpc"], "database": mariadb(name, "falcon_portal"), "redis": values{"enabled": true, "addr": redis(name)}, "liveness": values{"enabled": false}}
	}
	for name, cfg := range all {
		cfg["http"] = listen(k.addr[name+".http"])
		if name != "agent-0" && !strings.HasPrefix(name, "hbs-") {
			cfg["rpc"] = listen(k.addr[name+".rpc"])
		}
	}
	delete(all["alarm-0"], "rpc")
	return all
}

// rules makes the databases, one rule for all hosts that tells one person of each begin
// and each end, and one that is edited while daemons die.
func (k *killChain) rules() {
	t := k.t
	t.Helper()
	var err error
	if k.db, err = sql.Open("mysql", k.mariadb.DSN+"?multiStatements=true"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.db.Close() })
	db, err := portal.Open(t.Context(), portal.Config{
		PortalDSN: k.dsn("falcon_portal"), UICDSN: k.dsn("uic"), AlarmsDSN: k.dsn("alarms"), Only: []string{portal.Portal, portal.UIC, portal.Alarms},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	user, err := db.CreateUser(t.Context(), portal.User{Name: "ann", IM: "im-ann"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.CreateTeam(t.Context(), portal.Team{Name: "ops"}, []int64{user}); err != nil {
		t.Fatal(err)
	}
	tpl, err := db.CreateTemplate(t.Context(), portal.Template{Name: "kill", CreateUser: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.SetTemplateAction(t.Context(), tpl, portal.Action{UIC: "ops"}); err != nil {
		t.Fatal(err)
	}
	names := []string{"kill-marker"}
	for _, f := range k.feeders {
		for i := range killHosts {
			names = append(names, f.host(i))
		}
	}
	for h := range unionHosts {
		names = append(names, unionHost(h))
	}
	var hosts, members []string
	for i, name := range names {
		hosts, members = append(hosts, fmt.Sprintf("(%d, '%s')", i+1, name)), append(members, fmt.Sprintf("(1, %d)", i+1))
	}
	k.run(fmt.Sprintf(`INSERT INTO host (id, hostname) VALUES %s;
		INSERT INTO grp (id, grp_name) VALUES (1, 'kill');
		INSERT INTO grp_host (grp_id, host_id) VALUES %s;
		INSERT INTO grp_tpl (grp_id, tpl_id) VALUES (1, %d);
		INSERT INTO strategy (id, metric, tags, max_step, priority, func, op, right_value, note, tpl_id) VALUES
			(1, '%s', '', 1, 1, 'all(#1)', '>', '%d', '', %[3]d), (2, 'kill.marker', '', 1, 1, 'all(#1)', '<', '0', '', %[3]d);
		INSERT INTO strategy (id, metric, tags, max_step, priority, func, op, right_value, note, tpl_id, is_multi, multi_serial, multi_count) VALUES
			(3, '%[6]s', '', 1, 1, 'all(#1)', '>', '0', '', %[3]d, 1, '%[8]s', 2), (4, '%[7]s', '', 1, 1, 'all(#1)', '>', '0', '', %[3]d, 1, '%[8]s', 2)`,
		strings.Join(hosts, ","), strings.Join(members, ","), tpl, killMetric, killHigh/2, unionMetrics[0], unionMetrics[1], portal.UnionSerial([]int64{3, 4})))
}

func (k *killChain) run(query string) {
	k.t.Helper()
	if _, err := k.db.Exec("USE " + k.prefix + "falcon_portal; " + query); err != nil {
		k.t.Fatalf("%s: %v", query, err)
	}
}

// edit changes the rule that nothing depends on, and says so as api does. It is tried
// until database and Redis are there.
func (k *killChain) edit() error {
	n := k.serial.Load() + 1
	if _, err := k.db.Exec(fmt.Sprintf("UPDATE %sfalcon_portal.strategy SET right_value='%d' WHERE id=2", k.prefix, -n)); err != nil {
		return err
	}
	k.serial.Store(n)
	return k.pool.RulesChanged(k.t.Context(), "test")
}

// inForce says whether judge has a rule with a threshold.
func (k *killChain) inForce(host, metric string, threshold float64) error {
	var answer struct{ Data []model.Strategy }
	if err := k.page("judge-0", "/strategy/"+host+"/"+metric, &answer); err != nil {
		return err
	}
	if len(answer.Data) != 1 || answer.Data[0].RightValue != threshold {
		return fmt.Errorf("judge has the rules %+v of %s, want one with %v", answer.Data, metric, threshold)
	}
	return nil
}

// page reads a page of a daemon.
func (k *killChain) page(name, path string, into any) error {
	return pageAt(k.addr[name+".http"], path, into)
}

// pageAt reads a page of the daemon at addr.
func pageAt(addr, path string, into any) error {
	c := http.Client{Timeout: 2 * time.Second}
	resp, err := c.Get("http://" + addr + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(into)
}

// start starts a daemon that dies at a failpoint, or lives.
func (k *killChain) start(name, deadly string) {
	k.t.Helper()
	daemon, _, _ := strings.Cut(name, "-")
	p := testkit.StartDeadly(k.t, deadly, k.dir, filepath.Join(k.bin, "falcon-"+daemon), "-c", name+".json")
	k.mu.Lock()
	defer k.mu.Unlock()
	k.proc[name] = p
	k.all = append(k.all, p)
}

func (k *killChain) process(name string) *testkit.Process {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.proc[name]
}

// healthy waits until a daemon says that it is well.
func (k *killChain) healthy(name string) {
	k.t.Helper()
	testkit.Eventually(k.t, 30*time.Second, func() error {
		if code, text := k.health(name); code != http.StatusOK {
			return fmt.Errorf("%s says %d %q\n%s", name, code, text, k.process(name).Output())
		}
		return nil
	})
}

// health is what a daemon says of itself.
func (k *killChain) health(name string) (code int, text string) {
	resp, err := http.Get("http://" + k.addr[name+".http"] + "/health")
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// says waits until a daemon is ill and says so in these words.
func (k *killChain) says(name, words string) {
	k.t.Helper()
	testkit.Eventually(k.t, 30*time.Second, func() error {
		if code, text := k.health(name); code != http.StatusServiceUnavailable || !strings.Contains(text, words) {
			return fmt.Errorf("%s says %d %q, want %q", name, code, text, words)
		}
		return nil
	})
}

// between returns a random time of some milliseconds.
func (k *killChain) between(least, most int) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return time.Duration(least+k.rng.IntN(most-least)) * time.Millisecond
}

func (k *killChain) chance(n int) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.rng.IntN(n)
}

// feedFrom makes the feeders: each mouth of the fleet has one.
func (k *killChain) feedFrom() {
	t := k.t
	post := func(url string) func([]*model.MetricValue) error {
		c := &http.Client{Timeout: 5 * time.Second}
		return func(items []*model.MetricValue) error {
			body, err := json.Marshal(items)
			if err != nil {
				return err
			}
			resp, err := c.Post(url, "application/json", bytes.NewReader(body))
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if b, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
				return fmt.Errorf("%s: %s", resp.Status, b)
			}
			return nil
		}
	}
	c := rpc.NewClient(rpc.ClientOptions{Addr: k.addr["transfer-0.rpc"], Codec: rpc.JSON, CallTimeout: 5 * time.Second})
	t.Cleanup(c.Close)
	call := func(items []*model.MetricValue) error {
		var reply model.TransferResponse
		if err := c.Call(t.Context(), "Transfer.Update", items, &reply); err != nil {
			return err
		}
		if reply.Invalid != 0 {
			t.Errorf("transfer calls %d points invalid", reply.Invalid)
		}
		return nil
	}
	k.unions = newKillUnions(post("http://"+k.addr["transfer-0.http"]+"/api/push"), k.sink, k.rng.Uint64())
	k.feeders = []*killFeeder{
		{name: "agent", send: post("http://" + k.addr["agent-0.http"] + "/v1/push")},
		{name: "http", base: 15, send: post("http://" + k.addr["transfer-0.http"] + "/api/push")},
		{name: "rpc", base: 30, send: call},
		{name: "stream", base: 45, send: k.streaming()},
	}
}

// streaming sends by a stream, as an agent of ours does.
func (k *killChain) streaming() func([]*model.MetricValue) error {
	snd, err := stream.NewSender(stream.SenderOptions{Addr: k.addr["transfer-0.rpc"], Kind: stream.KindPoints, Sender: "test", RetryMax: 200 * time.Millisecond})
	if err != nil {
		k.t.Fatal(err)
	}
	k.fed.Go(func() {
		if err := snd.Run(k.t.Context()); err != nil {
			k.t.Error(err)
		}
	})
	handles := map[string]stream.Handle{}
	return func(items []*model.MetricValue) error {
		var points []stream.Point
		for _, it := range items {
			h, ok := handles[it.Endpoint]
			if !ok {
				h = snd.Define(&model.Series{Endpoint: it.Endpoint, Metric: it.Metric, Type: it.Type, Step: int(it.Step)})
				handles[it.Endpoint] = h
			}
			points = append(points, stream.Point{Handle: h, Time: it.Timestamp, Value: it.Value.(float64)})
		}
		done := make(chan stream.Result, 1)
		if err := snd.Send(k.t.Context(), points, func(r stream.Result) { done <- r }); err != nil {
			return err
		}
		r := <-done
		if r.Err == nil && r.Taken != len(points) {
			k.t.Errorf("transfer took %d of %d points: %+v", r.Taken, len(points), r)
		}
		return r.Err
	}
}

// feed pushes round after round until the end.
func (k *killChain) feed(f *killFeeder) {
	for round := int64(0); ; round++ {
		k.gate.RLock()
		var items []*model.MetricValue
		for i := range killHosts {
			items = append(items, &model.MetricValue{
				Endpoint: f.host(i), Metric: killMetric, Timestamp: k.first + round*killStep, Step: killStep, Type: model.Gauge, Value: f.value(i, round),
			})
		}
		acked := k.insist(&f.again, func() error { return f.send(items) })
		if acked {
			f.acked.Add(1)
		}
		k.gate.RUnlock()
		if !acked || !k.pace(round) {
			return
		}
	}
}

// insist sends until it is answered for, and counts how often it was not; false says that
// the test ends.
func (k *killChain) insist(again *atomic.Int64, send func() error) bool {
	for send() != nil {
		again.Add(1)
		select {
		case <-time.After(30 * time.Millisecond):
		case <-k.stop:
			return false
		}
	}
	return true
}

// pace waits for the next round; false says that the test ends.
func (k *killChain) pace(round int64) bool {
	wait := killPace
	if k.first+(round+1)*killStep > time.Now().Unix() { // it has caught up with the clock
		wait = killStep * time.Second
	}
	select {
	case <-time.After(wait):
		return true
	case <-k.stop:
		return false
	}
}

// rounds is how many rounds the slowest feeder has had acknowledged.
func (k *killChain) rounds() int64 {
	least := k.feeders[0].acked.Load()
	for _, f := range k.feeders[1:] {
		least = min(least, f.acked.Load())
	}
	return least
}

// killWorks are the counters that say of a daemon that it does what it is for.
var killWorks = map[string][]string{
	"graph": {"TakenCnt"}, "judge": {"event.problem", "event.ok"}, "plus_judge": {"combo.problem", "combo.ok"}, "alarm": {"told"}, "agent": {"SendCnt"},
}

// works waits until the chain does what it is for, and the one that is killed next does:
// some rounds are taken, and somebody is told something.
func (k *killChain) works(what string) {
	k.t.Helper()
	rounds, told, more := k.rounds(), k.sink.count(), int64(1+k.chance(5))
	testkit.Eventually(k.t, time.Minute, func() error {
		if r, n := k.rounds(), k.sink.count(); r < rounds+more || n == told {
			return fmt.Errorf("%s: %d rounds are taken, of %d more; %d messages are told, before %d", what, r-rounds, more, n, told)
		}
		if len(killWorks[what]) == 0 {
			return nil
		}
		done := 0.0
		for _, counter := range killWorks[what] {
			n, err := k.counter(what+"-0", counter)
			if err != nil {
				return err
			}
			done += n
		}
		if done == 0 {
			return fmt.Errorf("%s does nothing", what)
		}
		return nil
	})
}

// counter reads a counter of a daemon, by stock's name.
func (k *killChain) counter(name, counter string) (float64, error) {
	n, err := counterAt(k.addr[name+".http"], counter)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return n, nil
}

// counterAt reads a counter, by stock's name, of the daemon whose pages are at addr.
func counterAt(addr, counter string) (float64, error) {
	var rows struct {
		Data []struct {
			Name string
			Cnt  float64
		}
	}
	if err := pageAt(addr, "/statistics/all", &rows); err != nil {
		return 0, err
	}
	for _, r := range rows.Data {
		if r.Name == counter {
			return r.Cnt, nil
		}
	}
	return 0, fmt.Errorf("there is no counter %s", counter)
}

// kill kills one of what the chain has under load, n times, and starts it again; every
// fourth time a program is killed once more while it reads what it has left.
func (k *killChain) kill(what string, n int) int {
	k.t.Helper()
	for i := 0; i < n; i++ {
		k.works(what)
		<-time.After(k.between(0, 300)) // where the kill falls is the point of the test
		switch what {
		case "redis":
			if i%2 == 0 {
				k.redis.Kill()
			} else { // it loses what it had in the last two seconds
				k.redis.KillBehind(k.between(0, 2000))
			}
			<-time.After(k.between(0, 1000))
			k.redis.Start()
		case "mariadb":
			k.mariadb.Kill()
			<-time.After(k.between(0, 1000))
			k.mariadb.Start()
		default:
			name := what + "-0"
			if what == "hbs" {
				name = fmt.Sprint("hbs-", i%2)
				testkit.Eventually(k.t, 20*time.Second, k.edit)
				<-time.After(k.between(0, 300))
			}
			k.process(name).Kill()
			<-time.After(k.between(0, 600))
			k.start(name, "")
			if i+1 < n && k.chance(4) == 0 {
				<-time.After(k.between(0, 60))
				k.process(name).Kill()
				k.start(name, "")
				i++
			}
			k.healthy(name)
		}
	}
	return n
}

// walk lets a daemon die at each of its failpoints under load, and returns at how many.
func (k *killChain) walk(what string) int {
	k.t.Helper()
	name := what + "-0"
	names := failpoint.Of(what)
	for _, point := range names {
		k.process(name).Kill()
		if what == "hbs" { // the other one must not compile
			k.process("hbs-1").Kill()
		}
		deadly := fmt.Sprint(point, ":", 1+k.chance(2))
		k.start(name, deadly)
		p := k.process(name)
		for limit := time.Now().Add(40 * time.Second); !p.Dead(); {
			if time.Now().After(limit) {
				k.t.Errorf("%s never comes to %s", name, deadly)
				p.Kill()
				break
			}
			k.provoke(what, point)
			<-time.After(50 * time.Millisecond)
		}
		if !p.Killed() {
			k.t.Errorf("%s ended by itself at %s", name, deadly)
		}
		if what == "hbs" {
			k.start("hbs-1", "")
		}
		k.start(name, "")
		k.healthy(name)
	}
	return len(names)
}

// provoke does what brings a daemon to a failpoint that load alone does not.
func (k *killChain) provoke(what, point string) {
	switch {
	case what == "transfer" && (strings.HasPrefix(point, "spool.") || point == "transfer.spooled" || point == "transfer.replayed"):
		k.process("graph-0").Kill()
		rounds := k.rounds()
		for limit := time.Now().Add(5 * time.Second); k.rounds() < rounds+30 && time.Now().Before(limit) && !k.process("transfer-0").Dead(); {
			<-time.After(50 * time.Millisecond)
		}
		k.start("graph-0", "")
		k.healthy("graph-0")
		<-time.After(time.Second)
	case point == "alarm.owed", point == "alarm.paid":
		told := k.sink.count()
		for limit := time.Now().Add(5 * time.Second); k.sink.count() == told && time.Now().Before(limit); {
			<-time.After(50 * time.Millisecond) // one that starts without its database waits for it
		}
		k.mariadb.Kill()
		for limit := time.Now().Add(4 * time.Second); time.Now().Before(limit) && !k.process("alarm-0").Dead(); {
			<-time.After(50 * time.Millisecond)
		}
		k.mariadb.Start()
		<-time.After(2 * time.Second)
	case strings.HasPrefix(point, "judge.rules"), what == "hbs":
		_ = k.edit() // tried again
		<-time.After(500 * time.Millisecond)
	}
}

// verify waits until all that was acknowledged has come to its end, and looks whether it
// came there as it should. Nobody feeds meanwhile, and nobody dies.
func (k *killChain) verify() {
	t := k.t
	t.Helper()
	began := time.Now()
	k.unions.rest(t)
	defer k.unions.goOn()
	k.gate.Lock()
	defer k.gate.Unlock()
	testkit.Eventually(t, 3*time.Minute, k.books)
	testkit.Eventually(t, 3*time.Minute, k.points)
	testkit.Eventually(t, 3*time.Minute, func() error { return k.events(k.expected()) })
	testkit.Eventually(t, 20*time.Second, k.empty)
	testkit.Eventually(t, 30*time.Second, func() error { return k.inForce("kill-marker", "kill.marker", -float64(k.serial.Load())) })
	k.checked = min(k.rounds(), k.unions.acked())
	told, twice := 0, 0
	k.sink.mu.Lock()
	for _, n := range k.sink.told {
		told++
		if n.plain+n.marked > 1 {
			twice++
		}
	}
	k.sink.mu.Unlock()
	points := int64(0)
	for _, s := range k.series() {
		points += s.acked
	}
	testkit.Outcome(t, "%d points are in graph, %d events are told, of them %d of combinations and %d again as a possible repeat; all of it %v after the last kill",
		points, told, k.unions.told(), twice, time.Since(began).Round(time.Millisecond))
}

// books says which books do not balance, and what is on its way.
func (k *killChain) books() error {
	var accounts []struct {
		books
		Kind, Addr string
	}
	if err := k.page("transfer-0", "/debug/accounting", &accounts); err != nil {
		return err
	}
	if len(accounts) != 2 {
		return fmt.Errorf("transfer has %d books", len(accounts))
	}
	for _, a := range accounts {
		if a.Spooled+a.InFlight+a.Missing != 0 {
			return fmt.Errorf("%s %s: %+v", a.Kind, a.Addr, a.books)
		}
		lost := a.Stale + a.Dropped + a.Damaged
		for reason, n := range a.Refused {
			// What is there already comes again, and so does what found the spool full:
			// its sender was told.
			if reason != model.ReasonDuplicate && reason != model.ReasonBusy {
				lost += n
			}
		}
		if lost != 0 {
			return fmt.Errorf("points were lost on their way to %s: %+v", a.Kind, a.books)
		}
	}
	for name, all := range killBooks {
		var page struct {
			Data []struct {
				Name string
				Cnt  float64
			}
		}
		if err := k.page(name, "/statistics/all", &page); err != nil {
			return err
		}
		counters := map[string]float64{}
		for _, row := range page.Data {
			counters[row.Name] = row.Cnt
		}
		for _, book := range all {
			left, right, _ := strings.Cut(book, "=")
			difference := 0.0
			for side, sign := range map[string]float64{left: 1, right: -1} {
				for _, counter := range strings.Fields(side) {
					n, ok := counters[counter]
					if !ok {
						return fmt.Errorf("%s has no counter %s", name, counter)
					}
					difference += sign * n
				}
			}
			if difference != 0 {
				return fmt.Errorf("%s: %s is wrong by %v: %v", name, book, difference, counters)
			}
		}
	}
	return nil
}

// killBooks are sums of counters, of each daemon of the chain, that hold once nothing moves.
// docs/reliability.md says what they mean.
var killBooks = map[string][]string{
	"agent-0": {"QueueCnt = SendCnt SendFailCnt SendDropCnt QueueLen", "QueueLen =", "SendFailCnt =", "SendDropCnt ="},
	"graph-0": {"GraphRpcRecvCnt = TakenCnt RefusedCnt"},
	"judge-0": {
		"recv = recv.invalid recv.filtered recv.stale recv.kept", "recv.invalid =",
		"event.problem event.ok event.recovered event.again = event.pushed event.unwritable event.spool event.discarded", "event.unwritable =", "event.spool =",
		"union.taken = union.sent union.replaced union.drop union.waiting", "union.refused =", "union.drop =", "union.waiting =",
	},
	"plus_judge-0": {
		"member.event = member.refused recv.busy member.kept", "member.refused =",
		"combo.problem combo.ok event.recovered event.again = event.pushed event.unwritable event.spool event.discarded", "event.unwritable =", "event.spool =",
	},
	"alarm-0": {"taken = told untold in.hand", "in.hand =", "dead ="},
}

// books are those of transfer for a destination.
type books struct {
	Spooled, Stale, Dropped, Damaged, Missing int64
	InFlight                                  int64 `json:"in_flight"`
	Refused                                   map[string]int64
}

// A killSeries is a series of a feeder, and how many of its points were acknowledged.
type killSeries struct {
	host, metric string
	acked        int64
	value        func(round int64) float64
}

// series returns those of all feeders.
func (k *killChain) series() (all []killSeries) {
	for _, f := range k.feeders {
		for i := range killHosts {
			all = append(all, killSeries{f.host(i), killMetric, f.acked.Load(), func(round int64) float64 { return f.value(i, round) }})
		}
	}
	return append(all, k.unions.series()...)
}

// points says which acknowledged points graph does not have, or has with another value.
func (k *killChain) points() error {
	c := rpc.NewClient(rpc.ClientOptions{Addr: k.addr["graph-0.rpc"], StockCodec: rpc.Gob})
	defer c.Close()
	for _, s := range k.series() {
		for from := k.checked; from < s.acked; from += 3000 {
			to := min(from+3000, s.acked) // the first round that is not asked for
			var got model.GraphQueryResponse
			if err := c.Call(k.t.Context(), "Graph.Query", &model.GraphQueryParam{
				Start: k.first + from*killStep, End: k.first + (to-1)*killStep, ConsolFun: "AVERAGE", Endpoint: s.host, Counter: s.metric,
			}, &got); err != nil {
				return err
			}
			values := map[int64]float64{}
			for _, v := range got.Values {
				values[v.Timestamp] = float64(v.Value)
			}
			missing, wrong, where := 0, 0, int64(0)
			for round := from; round < to; round++ {
				switch v, ok := values[k.first+round*killStep]; {
				case !ok || v != v:
					missing++
					where = round
				case v != s.value(round):
					wrong++
					where = round
				}
			}
			if missing+wrong > 0 {
				return fmt.Errorf("%s of %s: of %d acknowledged points %d are missing and %d have another value, such as that of round %d", s.metric, s.host, to-from, missing, wrong, where)
			}
		}
	}
	return nil
}

// expected returns the events of what was acknowledged.
func (k *killChain) expected() map[string]bool {
	want := k.unions.events()
	for _, f := range k.feeders {
		for i := range killHosts {
			for round := range f.acked.Load() {
				if was, is := f.high(i, round-1) && round > 0, f.high(i, round); was != is {
					status := model.StatusOK
					if is {
						status = model.StatusProblem
					}
					want[killEvent(f.host(i), status, k.first+round*killStep)] = true
				}
			}
		}
	}
	return want
}

// events says which events are not told, or not in rows, once.
func (k *killChain) events(want map[string]bool) error {
	if err := k.unions.check(); err != nil {
		return err
	}
	k.sink.mu.Lock()
	defer k.sink.mu.Unlock()
	if len(k.sink.odd) > 0 {
		return fmt.Errorf("people were told %q", k.sink.odd[:min(3, len(k.sink.odd))])
	}
	var untold, strange, twice []string
	for e := range want {
		if k.sink.told[e] == nil {
			untold = append(untold, e)
		}
	}
	for e, told := range k.sink.told {
		if !want[e] {
			strange = append(strange, e)
		}
		// Whoever sends it again can not know whether the first was told.
		if told.plain > 1 {
			twice = append(twice, e)
		}
	}
	some := func(all []string) []string { return all[:min(3, len(all))] }
	if len(untold)+len(strange)+len(twice) > 0 {
		return fmt.Errorf("of %d events %d are not told, as %q; %d are told twice without a word, as %q; and %d that never were, as %q",
			len(want), len(untold), some(untold), len(twice), some(twice), len(strange), some(strange))
	}
	rows, err := k.db.Query(fmt.Sprintf(`SELECT c.endpoint, e.status, UNIX_TIMESTAMP(e.timestamp), COUNT(*)
		FROM %[1]salarms.events e JOIN %[1]salarms.event_cases c ON c.id = e.event_caseId GROUP BY 1, 2, 3`, k.prefix))
	if err != nil {
		return err
	}
	defer rows.Close()
	found := 0
	for rows.Next() {
		var host string
		var status, at, n int64
		if err := rows.Scan(&host, &status, &at, &n); err != nil {
			return err
		}
		e := killEvent(host, [2]string{model.StatusProblem, model.StatusOK}[status], at)
		if n != 1 || !want[e] {
			return fmt.Errorf("%s has %d rows, expected: %v", e, n, want[e])
		}
		found++
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if found != len(want) {
		return fmt.Errorf("%d of %d events have a row", found, len(want))
	}
	return nil
}

// empty says which lists of Redis still hold events.
func (k *killChain) empty() error {
	keys, err := redisx.Strings(k.pool.Do(k.t.Context(), "KEYS", "*"))
	if err != nil {
		return err
	}
	for _, key := range keys {
		if typ, err := redisx.String(k.pool.Do(k.t.Context(), "TYPE", key)); err != nil || typ != "list" {
			if err != nil {
				return err
			}
			continue
		}
		n, err := redisx.Int64(k.pool.Do(k.t.Context(), "LLEN", key))
		if err != nil {
			return err
		}
		if n > 0 {
			return fmt.Errorf("the list %s has %d events", key, n)
		}
	}
	return nil
}

// killFiles are what may be in the folder of a daemon that works.
var killFiles = map[string]*regexp.Regexp{
	"graph":      regexp.MustCompile(`^(LOCK|FORMAT|catalog-[0-9a-f]+|log-[0-9a-f]+|wal-[0-9a-f]+|seg-0-\d+)$`),
	"plus_judge": regexp.MustCompile(`^(journal-\d+|snapshot-\d+)$`),
	"judge":      regexp.MustCompile(`^(journal-\d+|snapshot-\d+|rules\.book)$`),
	"transfer":   regexp.MustCompile(`^(graph|judge)-[^/]+/(LOCK|position|spool-[0-9a-f]{16})$`),
	"agent":      regexp.MustCompile(`^([^/]+/)?(LOCK|position|spool-[0-9a-f]{16})$`),
}

// clean looks for panics, and for files that a restart has left behind.
func (k *killChain) clean() {
	k.t.Helper()
	k.gate.Lock()
	defer k.gate.Unlock()
	for _, name := range killDaemons {
		k.process(name).Stop()
	}
	for _, name := range killDaemons {
		k.start(name, "")
	}
	for _, name := range killDaemons {
		k.healthy(name)
	}
	for _, name := range killDaemons {
		k.process(name).Stop()
	}
	for _, p := range k.all {
		if strings.Contains(p.Output(), "panic") {
			k.t.Errorf("a program panicked:\n%s", p.Output())
		}
	}
	for folder, known := range killFiles {
		dir, n := filepath.Join(k.dir, folder), map[string]int{}
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			if !known.MatchString(filepath.ToSlash(rel)) {
				k.t.Errorf("%s has left %s", folder, rel)
			}
			kind, _, _ := strings.Cut(filepath.Base(rel), "-")
			n[filepath.Dir(rel)+"/"+kind]++
			return nil
		})
		if err != nil {
			k.t.Error(err)
		}
		// What is delivered or replaced is gone.
		for what, most := range map[string]int{"snapshot": 1, "journal": 2, "spool": 1, "catalog": 1} {
			for where, found := range n {
				if filepath.Base(where) == what && found > most {
					k.t.Errorf("%s has %d files %s, want %d at most", folder, found, where, most)
				}
			}
		}
	}
}

// Each daemon of a chain of programs, its Redis and its MariaDB are killed at random
// moments, and at each failpoint, while points are pushed at all its mouths. Afterwards
// every point that was acknowledged is in graph with its value, every event that these
// make has its rows once and was told once, or again as a possible repeat; the books of
// all of them balance; and no file is left behind. FALCON_SOAK=1 kills one after the other,
// as often as killLoops says, and verifies after each; the short form kills them beside
// each other. FALCON_KILL is a regular expression of what is killed.
func TestKillLoop(t *testing.T) {
	t.Parallel()
	only := regexp.MustCompile(os.Getenv("FALCON_KILL")) // of whom it is about; all without
	k := newKillChain(t)
	each := func(how string, names []string, kills func(name string) int) {
		began := time.Now()
		verify := func(what string, n int) {
			t.Helper()
			k.verify()
			testkit.Outcome(t, "%s: killed %d times %s, %v", what, n, how, time.Since(began).Round(100*time.Millisecond))
			began = time.Now()
		}
		var all sync.WaitGroup
		var n atomic.Int64
		for _, name := range names {
			switch {
			case !only.MatchString(name):
			case os.Getenv("FALCON_SOAK") != "":
				verify(name, kills(name))
			default:
				all.Go(func() { n.Add(int64(kills(name))) })
			}
		}
		if all.Wait(); n.Load() > 0 {
			verify("all", int(n.Load()))
		}
	}
	var names []string
	times := map[string]int{}
	for _, l := range killLoops {
		names = append(names, l.name)
		if times[l.name] = l.short; os.Getenv("FALCON_SOAK") != "" {
			times[l.name] = l.long
		}
	}
	each("at random", names, func(name string) int { return k.kill(name, times[name]) })
	each("at its failpoints", []string{"transfer", "judge", "plus_judge", "alarm", "hbs", "agent"}, k.walk)
	k.clean()
	again := k.unions.again.Load()
	for _, f := range k.feeders {
		again += f.again.Load()
	}
	testkit.Outcome(t, "%d pushes were not answered for and sent again", again)
}
