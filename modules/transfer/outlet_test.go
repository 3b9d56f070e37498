package transfer

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/common/queue/spool"
)

// t0 is the start of a step that the bubble's clock, which starts in 2000, has passed.
const t0 = 946_000_020 - 946_000_020%30

// settle lets everything that can happen without time passing happen.
func settle() { synctest.Wait() }

// after lets d pass.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestAckedPointsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testConfig(t, "g:1"))
		defer w.end()
		g := w.peers["g:1"]
		g.start()
		f := w.offer(gauge("m", t0), gauge("m", t0+30), nil)
		settle()
		if !f.kept() {
			t.Fatalf("%v, want true and nil", f)
		}
		g.wants("m", []int64{t0, t0 + 30})
		if b := w.books("g:1"); b.Received != 2 || b.Delivered != 2 || b.State != "streaming" {
			t.Errorf("books %+v, want 2 received and delivered", b)
		}
	})
}

// A peer that does not acknowledge for half a second is spooled for; from then on
// points are answered for at once, and arrive in order when the peer is back.
func TestSlowPeerIsSpooledFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testConfig(t, "g:1"))
		defer w.end()
		g := w.peers["g:1"]
		g.set(func(p *peer) { p.up, p.hold = true, true })
		var first []*offered
		for i := range 3 {
			first = append(first, w.offer(gauge("m", t0+int64(i)*30)))
		}
		after(400 * time.Millisecond)
		for i, f := range first {
			if done, _ := f.answer(); done {
				t.Fatalf("offer %d is answered while nobody vouches for it", i)
			}
		}
		if b := w.books("g:1"); b.InFlight != 3 || b.Spooled != 0 {
			t.Errorf("books %+v, want 3 in flight", b)
		}
		after(300 * time.Millisecond)
		for i, f := range first {
			if !f.kept() {
				t.Fatalf("offer %d is %v after half a second, want true and nil", i, f)
			}
		}
		for i := 3; i < 6; i++ {
			if f := w.offer(gauge("m", t0+int64(i)*30)); !f.kept() {
				t.Fatalf("a point behind a spool is %v, want at once", f)
			}
		}
		if b := w.books("g:1"); b.InFlight != 0 || b.Spooled != 6 {
			t.Errorf("books %+v, want 6 spooled", b)
		}
		g.release()
		after(10 * time.Second)
		g.wants("m", every(t0, 6, 30))
		if b := w.books("g:1"); b.Delivered != 6 || b.Spooled != 0 {
			t.Errorf("books %+v, want 6 delivered", b)
		}
		g.set(func(p *peer) { p.hold = true })
		last := w.offer(gauge("m", t0+180))
		if settle(); last.kept() {
			t.Error("behind an empty spool a point is answered before the peer has it")
		}
		g.release()
		if settle(); !last.kept() {
			t.Errorf("a point that the peer has is %v", last)
		}
		g.wants("m", every(t0, 7, 30))
	})
}

// The order of a series' points holds whatever happens to the peer, and each point
// is there in the end.
func TestOrderHoldsWhilePeerComesAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testConfig(t, "g:1"))
		defer w.end()
		g := w.peers["g:1"]
		n, sent := 0, []*offered{}
		push := func(k int, pause time.Duration) {
			for range k {
				sent = append(sent, w.offer(gauge("a", t0+int64(n)*30), gauge("b", t0+int64(n)*30)))
				n++
				after(pause)
				w.books("g:1")
			}
		}
		push(5, 50*time.Millisecond) // away from the start
		g.set(func(p *peer) { p.up, p.acks = true, 2 })
		push(40, 70*time.Millisecond) // it dies again while the spool drains
		g.set(func(p *peer) { p.up, p.acks, p.delay = true, 0, 20*time.Millisecond })
		push(20, 100*time.Millisecond)
		g.down()
		push(3, time.Millisecond)
		g.set(func(p *peer) { p.up, p.delay, p.hold = true, 0, true })
		push(10, 90*time.Millisecond)
		g.release()
		push(10, time.Millisecond)
		after(20 * time.Second)
		for i, f := range sent {
			if !f.kept() {
				t.Fatalf("offer %d: %v", i, f)
			}
		}
		g.wants("a", every(t0, n, 30))
		g.wants("b", every(t0, n, 30))
		if b := w.books("g:1"); b.Delivered != int64(2*n) || b.Spooled+b.InFlight != 0 {
			t.Errorf("books %+v, want %d delivered", b, 2*n)
		}
	})
}

// A peer hangs while more waits for it than a connection carries. What waited does not come
// before what was on its way, when there is a new connection.
func TestOrderHoldsWhenAPeerHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testConfig(t, "g:1"))
		defer w.end()
		g := w.peers["g:1"]
		g.set(func(p *peer) { p.up, p.deaf = true, true })
		n := 0
		push := func() {
			var many []*item // a whole chunk
			for i := range fullChunk {
				many = append(many, gauge(fmt.Sprint("m", i), t0+int64(n)*30))
			}
			w.offer(many...)
			n++
			after(10 * time.Millisecond)
		}
		for range 14 {
			push()
		}
		after(2 * time.Second) // it is spooled
		push()
		g.set(func(p *peer) { p.deaf = false })
		after(20 * time.Second)
		push()
		after(time.Second)
		g.wants("m0", every(t0, n, 30))
		g.wants("m7", every(t0, n, 30))
		g.release()
	})
}

// Points that come all the time do not keep the transfer in its spool: once it is
// read, they follow directly.
func TestSpoolEndsUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testConfig(t, "g:1"))
		defer w.end()
		g := w.peers["g:1"]
		n := 0
		push := func(k int) {
			for range k {
				w.offer(gauge("m", t0+int64(n)*30))
				n++
				after(time.Millisecond)
			}
		}
		push(1000) // away: all is spooled
		g.set(func(p *peer) { p.up, p.delay = true, 50*time.Millisecond })
		push(2000)
		in := w.outlet("g:1").spool.Stats().In
		push(1000)
		if more := w.outlet("g:1").spool.Stats().In - in; more != 0 {
			t.Errorf("%d of 1000 points went through the spool two seconds after the peer came back", more)
		}
		after(5 * time.Second)
		g.wants("m", every(t0, n, 30))
		w.books("g:1")
	})
}

// A graph that refuses everything is asked again after a pause, not in a loop.
func TestRefusingPeerIsLeftInPeace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testConfig(t, "g:1"))
		defer w.end()
		g := w.peers["g:1"]
		g.set(func(p *peer) { p.up, p.refuse = true, errors.New("graph takes no points: disk full") })
		for i := range 20 {
			if f := w.offer(gauge("m", t0+int64(i)*30)); i > 0 && !f.kept() {
				t.Fatalf("offer %d: %v", i, f)
			}
			after(time.Millisecond)
		}
		before := 0
		g.set(func(p *peer) { before = p.pushes })
		after(time.Minute)
		var again int
		g.set(func(p *peer) { again = p.pushes - before })
		if again == 0 || again > 60*8 {
			t.Errorf("%d pushes in a minute to a graph that refuses them", again)
		}
		w.books("g:1")
		g.set(func(p *peer) { p.refuse = nil })
		after(5 * time.Second)
		g.wants("m", every(t0, 20, 30))
	})
}

func TestRestartWithSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testConfig(t, "g:1"))
		g := w.peers["g:1"]
		for i := range 10 {
			w.offer(gauge("m", t0+int64(i)*30))
			after(100 * time.Millisecond)
		}
		w.stop()
		w.start()
		defer w.end()
		if b := w.books("g:1"); b.AtStart != 10 || b.Spooled != 10 {
			t.Fatalf("books %+v after a restart, want 10 in the spool", b)
		}
		w.offer(gauge("m", t0+300))
		g.start()
		after(10 * time.Second)
		g.wants("m", every(t0, 11, 30))
		if b := w.books("g:1"); b.Delivered != 11 || b.Received != 1 {
			t.Errorf("books %+v, want 11 delivered, 1 of them received", b)
		}
	})
}

// What a transfer has and nobody has acknowledged when it stops is in its spool.
func TestStopSpoolsWhatIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testConfig(t, "g:1"))
		g := w.peers["g:1"]
		g.set(func(p *peer) { p.up, p.hold = true, true })
		f := w.offer(gauge("m", t0))
		settle()
		start := time.Now()
		w.stop()
		if took := time.Since(start); took > w.cfg.Drain.D() {
			t.Errorf("stopping took %v, drain is %v", took, w.cfg.Drain.D())
		}
		if !f.kept() {
			t.Errorf("%v", f)
		}
		late := w.offer(gauge("m", t0+30))
		if _, err := late.answer(); err == nil || !strings.Contains(err.Error(), "stopping") {
			t.Errorf("an offer behind the end is %v", late)
		}
		g.down()
		w.start()
		defer w.end()
		if b := w.books("g:1"); b.AtStart != 1 {
			t.Errorf("books %+v, want 1 at start", b)
		}
	})
}

// When the spool of a graph is full nothing is acknowledged any more, by no way of
// receiving; health says so; and nothing that was refused counts as kept.
func TestFullSpoolRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(t, "g:1")
		cfg.Spool.MaxSize = 1
		w := newWorld(t, cfg)
		defer w.end()
		g := w.peers["g:1"]
		kept := 0
		var refused error
		for i := 0; refused == nil; i++ {
			items := make([]*item, 1000)
			for j := range items {
				items[j] = gauge("m", t0+int64(1000*i+j)*30)
			}
			f := w.offer(items...)
			if done, _ := f.answer(); !done {
				after(600 * time.Millisecond)
			}
			if _, refused = f.answer(); refused == nil {
				kept += len(items)
			}
			w.books("g:1")
			if i > 1000 {
				t.Fatal("a spool of 1 MB never fills")
			}
		}
		if !errors.Is(refused, spool.ErrFull) || !strings.HasPrefix(refused.Error(), "busy: graph g:1") {
			t.Errorf("refused with %q", refused)
		}
		if err := w.tr.health(); err == nil {
			t.Error("health is well while points are refused")
		}
		recv := w.tr.recv.Get()
		big := update{}
		for j := range 1000 {
			big = append(big, gauge("m", t0+int64(j)*30))
		}
		if _, err := w.tr.update(t.Context(), nil, &big); err == nil {
			t.Error("Transfer.Update says ok while nobody keeps the points")
		}
		var body strings.Builder
		body.WriteString(`[`)
		for j := range 3000 {
			if j > 0 {
				body.WriteByte(',')
			}
			body.WriteString(`{"endpoint":"h","metric":"m` + strings.Repeat("x", j%100) + `","value":1,"step":60,"counterType":"GAUGE","tags":"","timestamp":946000020}`)
		}
		body.WriteString(`]`)
		rec := httptest.NewRecorder()
		w.tr.push(rec, httptest.NewRequest("POST", "/api/push", strings.NewReader(body.String())))
		if rec.Code != http.StatusServiceUnavailable || !strings.HasPrefix(rec.Body.String(), "busy: ") {
			t.Errorf("POST /api/push: %d %q, want 503 busy", rec.Code, rec.Body)
		}
		if got := w.tr.recv.Get(); got != recv {
			t.Errorf("RecvCnt grew by %d by points that were refused", got-recv)
		}
		b := w.books("g:1")
		if b.Refused[model.ReasonBusy] != b.Received-int64(kept) || b.Spooled != int64(kept) {
			t.Errorf("books %+v, want %d spooled and the rest refused as busy", b, kept)
		}
		g.start()
		after(10 * time.Second)
		if n := len(g.seen("m")); n != kept {
			t.Errorf("%d points arrived, %d were kept", n, kept)
		}
		if err := w.tr.health(); err != nil {
			t.Errorf("health of an empty spool: %v", err)
		}
	})
}

// Each address of a node gets every point, and neither one that is dead nor one that
// hangs stalls anybody for longer than After, once.
func TestThreeAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testConfig(t, "g:1, g:2, g:3"))
		defer w.end()
		well, dead, hanging := w.peers["g:1"], w.peers["g:2"], w.peers["g:3"]
		well.start()
		hanging.set(func(p *peer) { p.up, p.hold = true, true })
		f := w.offer(gauge("m", t0))
		if settle(); f.kept() {
			t.Fatal("answered before all addresses vouch for the point")
		}
		after(700 * time.Millisecond)
		if !f.kept() {
			t.Fatalf("the first offer waits for the address that hangs: %v", f)
		}
		well.wants("m", every(t0, 1, 30))
		for i := range 9 {
			f := w.offer(gauge("m", t0+30+int64(i)*30))
			settle()
			if !f.kept() {
				t.Fatalf("offer %d waits for the addresses that are away: %v", i, f)
			}
		}
		dead.start()
		hanging.release()
		after(10 * time.Second)
		for addr, p := range w.peers {
			p.wants("m", every(t0, 10, 30))
			if b := w.books(addr); b.Delivered != 10 || b.Spooled != 0 {
				t.Errorf("books of %s %+v, want 10 delivered", addr, b)
			}
		}
	})
}

func judgeConfig(t *testing.T) Config {
	cfg := testConfig(t, "g:1")
	cfg.Judge.Enabled = true
	cfg.Judge.Cluster = map[string]string{"judge-00": "j:1"}
	return cfg
}

// A judge that is away for longer than SpoolAge gets what is young enough; the rest
// is stale.
func TestJudgeGetsNoStalePoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, judgeConfig(t))
		defer w.end()
		w.peers["g:1"].start()
		for i := range 20 { // 20 minutes
			f := w.offer(gauge("m", t0+int64(i)*60))
			after(time.Minute)
			if !f.kept() {
				t.Fatalf("a judge that is away withholds an answer: %v", f)
			}
			w.books("j:1")
		}
		w.peers["j:1"].start()
		after(10 * time.Second)
		b := w.books("j:1")
		if b.Stale == 0 || b.Stale+b.Delivered != 20 || b.Delivered < 9 || b.Delivered > 10 {
			t.Errorf("books %+v, want the last ten minutes delivered and the rest stale", b)
		}
		w.peers["j:1"].wants("m", every(t0, 20, 60)[b.Stale:])
		w.peers["g:1"].wants("m", every(t0, 20, 60))
	})
}

// The clock of the host is put by an hour while a judge is away: what waits for it is not
// stale by that, and points keep the times that they had.
func TestClockSteps(t *testing.T) {
	for name, step := range map[string]time.Duration{"forward": time.Hour, "back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := judgeConfig(t)
				cfg.TsPolicy = "default"
				w := newWorld(t, cfg)
				defer w.end()
				w.peers["g:1"].start()
				begin := time.Now().Unix()
				for i := range 6 {
					if i == 3 {
						w.put.Store(int64(step))
					}
					f := w.offer(gauge("m", begin+int64(i)*60))
					after(time.Minute)
					if !f.kept() {
						t.Fatalf("minute %d: %v", i, f)
					}
				}
				w.peers["j:1"].start()
				after(10 * time.Second)
				if b := w.books("j:1"); b.Stale != 0 || b.Delivered != 6 {
					t.Errorf("books %+v", b)
				}
				w.peers["j:1"].wants("m", every(begin, 6, 60))
				w.peers["g:1"].wants("m", every(begin, 6, 60))
			})
		})
	}
}

// A full spool of a judge makes room by dropping its oldest points; nobody is
// refused, and health is well.
func TestFullJudgeSpoolDropsOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := judgeConfig(t)
		cfg.Spool.MaxSize = 1
		cfg.Judge.SpoolAge = 0
		w := newWorld(t, cfg)
		defer w.end()
		w.peers["g:1"].start()
		n := 0
		for w.books("j:1").Stale == 0 {
			items := make([]*item, 2000)
			for j := range items {
				items[j] = gauge("m", t0+int64(n)*30)
				n++
			}
			f := w.offer(items...)
			if after(600 * time.Millisecond); !f.kept() {
				t.Fatalf("a full spool of a judge: %v", f)
			}
		}
		if err := w.tr.health(); err != nil {
			t.Errorf("health: %v", err)
		}
		w.peers["j:1"].start()
		after(10 * time.Second)
		b := w.books("j:1")
		if b.Spooled != 0 || b.Delivered+b.Stale != int64(n) {
			t.Errorf("books %+v of %d points", b, n)
		}
		w.peers["j:1"].wants("m", every(t0, n, 30)[b.Stale:])
	})
}

// Points of muted series are left out and counted, until the judge wants them again.
func TestMutedSeriesAreLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, judgeConfig(t))
		defer w.end()
		j := w.peers["j:1"]
		w.peers["g:1"].start()
		j.set(func(p *peer) { p.up, p.mute = true, true })
		w.offer(gauge("m", t0), gauge("n", t0))
		settle()
		f := w.offer(gauge("m", t0+30), gauge("n", t0+30))
		settle()
		if !f.kept() {
			t.Fatalf("%v", f)
		}
		j.wants("m", every(t0, 1, 30))
		if b := w.books("j:1"); b.Muted != 2 || b.Delivered != 2 {
			t.Errorf("books %+v, want 2 muted", b)
		}
		w.peers["g:1"].wants("m", every(t0, 2, 30))
		// A new connection wants everything again.
		j.down()
		j.set(func(p *peer) { p.up, p.mute = true, false })
		after(10 * time.Second)
		w.offer(gauge("m", t0+60))
		after(10 * time.Second)
		w.offer(gauge("m", t0+90))
		settle()
		if got := j.seen("m"); got[len(got)-1] != t0+90 {
			t.Errorf("a new judge sees %v, want the newest point", got)
		}
		w.books("j:1")
	})
}

// A spool on a disk that fails is no reason to lose order or to spin: points are
// refused while the peer is away, and go directly once it is back.
func TestSpoolThatCanNotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testConfig(t, "g:1"))
		defer w.end()
		o := w.outlet("g:1")
		if err := o.spool.Close(); err != nil { // its writes fail from here on
			t.Fatal(err)
		}
		f := w.offer(gauge("m", t0))
		after(time.Second)
		if done, err := f.answer(); !done || err == nil {
			t.Fatalf("%v though nobody has the point", f)
		}
		w.peers["g:1"].start()
		after(10 * time.Second)
		f = w.offer(gauge("m", t0+30))
		settle()
		if !f.kept() {
			t.Errorf("%v with a peer that is there", f)
		}
		w.books("g:1")
		// The bubble ends with an orderly close.
		sp, err := spool.Open(spool.Options{Dir: filepath.Join(t.TempDir(), "other")})
		if err != nil {
			t.Fatal(err)
		}
		o.mu.Lock()
		o.spool = sp
		o.mu.Unlock()
	})
}

// A spool that can not be read for a while is waited for: what comes meanwhile does not
// overtake it, and nothing is lost.
func TestSpoolThatCanNotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testConfig(t, "g:1"))
		defer w.end()
		g := w.peers["g:1"]
		for i := range 5 {
			w.offer(gauge("m", t0+int64(i)*30))
			after(time.Second)
		}
		files, err := filepath.Glob(filepath.Join(w.outlet("g:1").spoolDir(w.cfg.Spool.Dir), "spool-*"))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		if err := os.Rename(files[0], files[0]+".away"); err != nil {
			t.Fatal(err)
		}
		g.start()
		after(10 * time.Second)
		w.offer(gauge("m", t0+150))
		after(10 * time.Second)
		g.wants("m", nil)
		if err := os.Rename(files[0]+".away", files[0]); err != nil {
			t.Fatal(err)
		}
		after(10 * time.Second)
		g.wants("m", every(t0, 6, 30))
	})
}

// A batch larger than a chunk travels in several and is answered once.
func TestLargeBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testConfig(t, "g:1"))
		defer w.end()
		w.peers["g:1"].start()
		items := make([]*item, 3*maxChunk+1)
		for i := range items {
			items[i] = gauge("m", t0+int64(i)*30)
		}
		f := w.offer(items...)
		settle()
		if !f.kept() {
			t.Fatalf("%v", f)
		}
		w.peers["g:1"].wants("m", every(t0, len(items), 30))
		w.books("g:1")
	})
}

// Small pushes that come while others are on their way travel together.
func TestSmallPushesTravelTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(t, "g:1")
		cfg.Spool.After = conf.Duration(5 * time.Second)
		w := newWorld(t, cfg)
		defer w.end()
		g := w.peers["g:1"]
		g.set(func(p *peer) { p.up, p.hold = true, true })
		var fs []*offered
		for i := range 100 {
			fs = append(fs, w.offer(gauge("m", t0+int64(i)*30)))
			settle()
		}
		g.release()
		settle()
		if slices.ContainsFunc(fs, func(f *offered) bool { return !f.kept() }) {
			t.Error("an offer was not answered")
		}
		g.wants("m", every(t0, 100, 30))
		g.set(func(p *peer) {
			if p.pushes > 4 {
				t.Errorf("100 small offers took %d pushes", p.pushes)
			}
		})
	})
}
