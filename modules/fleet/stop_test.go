package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"falcon/common/portal"
	"falcon/common/queue/spool"
	"falcon/common/testkit"
	"falcon/modules/load"
)

// flows are who hands what on to whom: the first stops before the second.
var flows = [][2]string{
	{"poly_metric", "agent"}, {"poly_metric", "transfer"}, {"agent", "hbs"}, {"agent", "transfer"}, {"nodata", "transfer"}, {"hbs", "transfer"},
	{"transfer", "graph"}, {"transfer", "judge"}, {"judge", "plus_judge"}, {"judge", "alarm"}, {"plus_judge", "alarm"}, {"graph", "api"}, {"alarm", "api"},
}

// The stages of a fleet are in the direction in which data flows.
func TestStagesFollowTheData(t *testing.T) {
	f, _ := quiet(t, `{"redis": "127.0.0.1:1"}`) // nobody asks it
	at, err := f.listen()
	if err != nil {
		t.Fatal(err)
	}
	defer at.close()
	db, err := portal.Open(t.Context(), f.cfg.API.Portal(), f.log)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	stages, closeAll, err := f.build(f.cfg, at, db)
	defer closeAll()
	if err != nil {
		t.Fatal(err)
	}
	where := map[string]int{}
	for i, s := range stages {
		for name := range s {
			where[name] = i
		}
	}
	known := map[string]bool{}
	for _, flow := range flows {
		from, ok1 := where[flow[0]]
		to, ok2 := where[flow[1]]
		if !ok1 || !ok2 || from >= to {
			t.Errorf("%s hands on to %s and does not stop before it: %v", flow[0], flow[1], where)
		}
		known[flow[0]], known[flow[1]] = true, true
	}
	if got, want := slices.Sorted(maps.Keys(where)), slices.Sorted(maps.Keys(known)); !slices.Equal(got, want) {
		t.Errorf("the stages have %q, and this test knows of %q", got, want)
	}
}

// spooled returns how many points wait in the spools below dir.
func spooled(t testing.TB, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "position" {
			return err
		}
		held, err := spool.Held(filepath.Dir(path))
		n += held
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return n
}

// A whole fleet is stopped under load, three times. It ends well within drain, what it has
// answered for is in graph by then and in no spool, and whoever pushes goes on when it is
// back: each point that was acknowledged is there.
func TestUpIsStoppedUnderLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := onAnyPort(t, dir)
	fixed := map[string]string{}
	for _, key := range []string{"agent.http", "transfer.rpc", "transfer.http", "graph.rpc"} {
		fixed[key] = testkit.FreeAddr(t)
	}
	var cfg map[string]values
	raw, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(raw, &cfg)
	}
	if err != nil {
		t.Fatal(err)
	}
	for key, addr := range fixed {
		daemon, listener, _ := strings.Cut(key, ".")
		cfg[daemon][listener] = values{"enabled": true, "listen": addr}
	}
	if raw, err = json.Marshal(cfg); err == nil {
		err = os.WriteFile(file, raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	p, _ := upWith(t, dir, file)

	mouths := map[string]string{
		load.Stream: fixed["transfer.rpc"], load.JSONRPC: fixed["transfer.rpc"], load.HTTP: "http://" + fixed["transfer.http"] + "/api/push", "agent": "http://" + fixed["agent.http"] + "/v1/push",
	}
	loads := map[string]func() (*load.Report, error){}
	for mouth, to := range mouths {
		c := load.DefaultConfig()
		c.To, c.Prefix, c.Step, c.Endpoints, c.Metrics, c.Connections, c.Batch = to, "stop-"+mouth, 10, 20, 20, 2, 50
		// Long enough for three starts of a slow machine.
		c.Rounds, c.Rate, c.Graphs, c.Settle = 150, 4000, map[string]string{"graph-00": fixed["graph.rpc"]}, 20*time.Second
		if c.Protocol = mouth; mouth == "agent" {
			c.Protocol = load.HTTP
		}
		loads[mouth] = startLoad(t, c)
	}
	for range 3 {
		testkit.Eventually(t, 20*time.Second, func() error { // it is under load
			at, err := Endpoints(filepath.Join(dir, "data"))
			if err != nil {
				return err
			}
			n, err := counterAt(at["graph.http.listen"], "GraphRpcRecvCnt")
			if err == nil && n < 4000 {
				err = fmt.Errorf("graph has received %v points since its start", n)
			}
			return err
		})
		p.Stop()
		for _, name := range []string{"agent", "transfer"} {
			if n := spooled(t, filepath.Join(dir, "data", "spool", name)); n > 0 {
				t.Errorf("%s has kept %d points, and all that it sends to were there", name, n)
			}
		}
		p, _ = upWith(t, dir, file)
	}
	for mouth, wait := range loads {
		report, err := wait()
		if err != nil {
			t.Errorf("%s: %v", mouth, err)
			continue
		}
		t.Logf("%s: %d points acknowledged, %d sent again", mouth, report.Acked, report.Retried)
	}
	p.Stop()
}

// Each program of the chain is asked to stop while points go through it, and started again.
// All are heard well, nothing is lost, and nobody is told anything again.
func TestEachStopsUnderLoad(t *testing.T) {
	t.Parallel()
	k := newKillChain(t)
	for _, name := range killDaemons {
		daemon, _, _ := strings.Cut(name, "-")
		k.works(daemon)
		k.process(name).Stop()
		k.start(name, "")
		k.healthy(name)
	}
	k.verify()
	k.toldOnce()
}

// Each program of the chain is asked to stop twice: it ends at once, wherever it is, and when
// it is started again nothing is lost.
func TestEachIsStoppedTwice(t *testing.T) {
	t.Parallel()
	k := newKillChain(t)
	for _, name := range killDaemons {
		daemon, _, _ := strings.Cut(name, "-")
		k.works(daemon)
		p := k.process(name)
		p.Terminate()
		<-time.After(k.between(0, 30)) // where the second one falls is the point of the test
		p.Terminate()
		testkit.Eventually(t, 3*time.Second, func() error {
			if !p.Dead() {
				return fmt.Errorf("%s runs", name)
			}
			return nil
		})
		k.start(name, "")
		k.healthy(name)
	}
	k.verify()
}

// A program that is asked to stop while it starts does, and starts again.
func TestStoppedWhileStarting(t *testing.T) {
	stopped := func(t *testing.T, start func() *testkit.Process, after ...time.Duration) {
		for _, ms := range after {
			p := start()
			<-time.After(ms * time.Millisecond) // where in its start it is stopped is the point of the test
			p.Terminate()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			err := p.Wait(ctx)
			if ended := ctx.Err() == nil; !ended || err != nil && err.Error() != "signal: terminated" || strings.Contains(p.Output(), "panic") {
				t.Errorf("%d ms after its start: ended %v, %v\n%s", ms, ended, err, p.Output())
			}
			cancel()
		}
	}
	eachProgram(t, func(t *testing.T, l *lone) {
		stopped(t, func() *testkit.Process { l.start(); return l.p }, 0, 3, 10, 20, 40, 80)
		l.start()
		l.serves()
		l.p.Stop()
	})
	t.Run("falcon", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		file := onAnyPort(t, dir)
		stopped(t, func() *testkit.Process {
			return testkit.Start(t, dir, testkit.Program(t, "falcon"), "up", "--data", "data", "--config", file)
		}, 0, 10, 40, 100, 200, 400, 800)
		p, _ := up(t, dir)
		p.Stop()
	})
}

// toldOnce fails the test when somebody was told of an event again.
func (k *killChain) toldOnce() {
	k.t.Helper()
	k.sink.mu.Lock()
	defer k.sink.mu.Unlock()
	for e, told := range k.sink.told {
		if told.plain != 1 || told.marked != 0 {
			k.t.Errorf("%s is told %d times, and %d times as a possible repeat", e, told.plain, told.marked)
		}
	}
}

// The programs of a fleet are stopped in the direction in which data flows. What has been
// acknowledged before is with the last of them: graph has each point and alarm tells each
// event, and nobody before them is asked.
func TestStopHandsOn(t *testing.T) {
	t.Parallel()
	k := newKillChain(t)
	// Who has not reached its peer yet keeps what it has: that is another story.
	for _, what := range []string{"agent", "graph", "judge", "plus_judge", "alarm"} {
		k.works(what)
	}
	k.gate.Lock()
	defer k.gate.Unlock()
	for _, name := range []string{"agent-0", "hbs-0", "hbs-1", "transfer-0", "graph-0", "judge-0", "plus_judge-0", "alarm-0"} {
		k.process(name).Stop()
	}
	for _, name := range []string{"agent", "transfer"} {
		if n := spooled(t, filepath.Join(k.dir, name)); n > 0 {
			t.Errorf("%s has kept %d points", name, n)
		}
	}
	k.start("graph-0", "")
	k.healthy("graph-0")
	if err := k.points(); err != nil {
		t.Error(err)
	}
	k.start("alarm-0", "")
	testkit.Eventually(t, 30*time.Second, func() error { return k.events(k.expected()) })
	testkit.Eventually(t, 10*time.Second, k.empty)
	k.toldOnce()
}

// What can not be handed on while a program stops, since its peer hangs, is kept, and handed
// on when it is started again.
func TestStopKeepsForWhoHangs(t *testing.T) {
	t.Parallel()
	k := newKillChain(t)
	k.works("alarm")
	resume := k.process("graph-0").Pause()
	defer resume()
	f := k.feeders[2]
	before := f.acked.Load()
	testkit.Eventually(t, 20*time.Second, func() error { // transfer takes points that graph does not
		if f.acked.Load() < before+20 {
			return errors.New("nothing is acknowledged")
		}
		return nil
	})
	k.process("transfer-0").Stop()
	if spooled(t, filepath.Join(k.dir, "transfer")) == 0 {
		t.Error("nothing is kept for a graph that hangs")
	}
	resume()
	k.start("transfer-0", "")
	k.healthy("transfer-0")
	k.verify()
	k.toldOnce()
}
