package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"falcon/common/model"
	"falcon/common/run"
	"falcon/modules/agent/collect"
)

// fake is a collector that does as it is told.
type fake struct {
	collect func(ctx context.Context) ([]collect.Item, error)
	samples atomic.Int64
}

func (f *fake) Collect(ctx context.Context) ([]collect.Item, error) { return f.collect(ctx) }
func (f *fake) Sample() error                                       { f.samples.Add(1); return nil }

func gives(items ...collect.Item) *fake {
	return &fake{collect: func(context.Context) ([]collect.Item, error) { return items, nil }}
}

// The first round comes a second after start, the others once an interval at the
// moment that depends on the endpoint; there is a sample at start and a second before
// each round, and one that belongs to it.
func TestRoundsKeepTheirPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig("t:1")
		f := gives(collect.G("m", 1))
		w := newWorld(t, cfg, newSlot("fake", 1, f))
		defer w.end()
		w.transfers["t:1"].set(func(tr *transfer) { tr.up = true })
		start := time.Now()
		<-time.After(5*time.Minute + 500*time.Millisecond)
		synctest.Wait()
		phase := int64(crc32.ChecksumIEEE([]byte("here")) % 60)
		want := []string{fmt.Sprintf("m@%d", start.Unix()+1)}
		for ts := start.Unix() + 2; ts <= start.Unix()+300; ts++ {
			if ts%60 == phase {
				want = append(want, fmt.Sprintf("m@%d", ts))
			}
		}
		if got := join(w.transfers["t:1"].seen()); got != join(want) {
			t.Errorf("points %s\nwant   %s", got, join(want))
		}
		if n := f.samples.Load(); n != 2+2*5 {
			t.Errorf("%d samples in 300 seconds, want 12", n)
		}
	})
}

// With levels of importance each collector has its own pace and step; all of a level
// look at the same moment; agent.alive is never rarer than a minute unless its level
// is written.
func TestLevels(t *testing.T) {
	for _, c := range []struct {
		levels map[string]int
		want   map[string]int // seconds
	}{
		{nil, map[string]int{"l1": 60, "l2": 60, "l3": 60, "l4": 60, "agent.alive": 60}},
		{map[string]int{}, map[string]int{"l1": 10, "l2": 30, "l3": 60, "l4": 120, "agent.alive": 60}},
		{map[string]int{"level_1": 5, "level_4": 300}, map[string]int{"l1": 5, "l2": 30, "l3": 60, "l4": 300, "agent.alive": 300}},
		{map[string]int{"level_3": 600}, map[string]int{"l1": 10, "l2": 30, "l3": 600, "l4": 120, "agent.alive": 60}},
	} {
		synctest.Test(t, func(t *testing.T) {
			cfg := testConfig("t:1")
			cfg.Level = c.levels
			delete(cfg.Ignore, "agent.alive")
			w := newWorld(t, cfg, newSlot("l1", 1, gives(collect.G("l1", 1))), newSlot("l2", 2, gives(collect.G("l2", 1))),
				newSlot("l3", 3, gives(collect.G("l3", 1))), newSlot("l4", 4, gives(collect.G("l4", 1))))
			defer w.end()
			w.transfers["t:1"].set(func(tr *transfer) { tr.up = true })
			after(time.Second + 600*time.Second)
			w.transfers["t:1"].set(func(tr *transfer) {
				for metric, every := range c.want {
					var times []int64
					for _, it := range tr.items {
						var m string
						var step int
						var ts int64
						if _, err := fmt.Sscanf(it, "here %s GAUGE %d %d 1", &m, &step, &ts); err != nil {
							t.Fatal(it, err)
						}
						if m != metric+"{}" {
							continue
						}
						times = append(times, ts)
						if step != every {
							t.Errorf("levels %v: %s has step %d, want %d", c.levels, metric, step, every)
						}
					}
					// The first look is out of turn; after it there is one each interval.
					if n := len(times); n < 600/every || n > 600/every+1 {
						t.Errorf("levels %v: %d points of %s in ten minutes", c.levels, n, metric)
					}
					for i := 2; i < len(times); i++ {
						if times[i]-times[i-1] != int64(every) || times[i]%int64(every) != times[1]%int64(every) {
							t.Errorf("levels %v: %s looks at %v", c.levels, metric, times)
							break
						}
					}
				}
			})
		})
	}
}

func TestVersionAndAddressAsNumbers(t *testing.T) {
	for in, want := range map[string]float64{"6.1.0": 610, "7.1": 71, "0.1.0-rc2": 10, "10.0.3": 1003} {
		if got, ok := versionNumber(in); !ok || got != want {
			t.Errorf("version %s is %v, want %v", in, got, want)
		}
	}
	if got, ok := versionNumber("dev"); ok {
		t.Errorf("version dev is %v", got)
	}
	for in, want := range map[string]float64{"10.3.21.225": 167974369, "255.255.255.255": 4294967295, "fd00::1": 0, "::ffff:10.0.0.1": 167772161} {
		if got := ipNumber(in); got != want {
			t.Errorf("address %s is %v, want %v", in, got, want)
		}
	}
}

// A clock that is set back does not stop the rounds.
func TestClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig("t:1")
		var back atomic.Int64
		rounds := atomic.Int64{}
		f := &fake{collect: func(context.Context) ([]collect.Item, error) { rounds.Add(1); return nil, nil }}
		w := newWorldWith(t, cfg, Deps{
			Log: slog.New(slog.DiscardHandler),
			Now: func() time.Time { return time.Now().Add(-time.Duration(back.Load())).Round(0) },
		}, newSlot("fake", 1, f))
		defer w.end()
		<-time.After(2 * time.Minute)
		before := rounds.Load()
		back.Store(int64(2 * time.Hour))
		<-time.After(3 * time.Minute)
		if n := rounds.Load() - before; n < 3 || n > 5 {
			t.Errorf("%d rounds in three minutes after the clock was set back by two hours", n)
		}
	})
}

// A collector that hangs, one that panics and one that fails cost their own points
// only; one that hangs is asked again when it has returned.
func TestOneBadCollector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig("t:1")
		release := make(chan struct{})
		var hung atomic.Int64
		hang := &fake{collect: func(context.Context) ([]collect.Item, error) {
			if hung.Add(1) == 1 {
				<-release
			}
			return []collect.Item{collect.G("hung", 1)}, nil
		}}
		panics := &fake{collect: func(context.Context) ([]collect.Item, error) { panic("no such device") }}
		fails := &fake{collect: func(context.Context) ([]collect.Item, error) {
			return []collect.Item{collect.G("half", 1)}, fmt.Errorf("read /proc/x: gone")
		}}
		var logged bytes.Buffer
		var mu sync.Mutex
		log := slog.New(slog.NewTextHandler(writer(func(b []byte) { mu.Lock(); defer mu.Unlock(); logged.Write(b) }), nil))
		w := newWorldWith(t, cfg, Deps{Log: log}, newSlot("hang", 1, hang), newSlot("panics", 1, panics), newSlot("fails", 1, fails), newSlot("good", 1, gives(collect.G("good", 1))))
		defer w.end()
		w.transfers["t:1"].set(func(tr *transfer) { tr.up = true })
		after(5 * time.Minute)
		count := func(metric string) (n int) {
			for _, s := range w.transfers["t:1"].seen() {
				if strings.HasPrefix(s, metric+"@") {
					n++
				}
			}
			return n
		}
		good := count("good")
		if good < 5 || count("half") != good || count("hung") != 0 || hung.Load() != 1 {
			t.Errorf("good %d, half %d, hung %d points; the hanging one was asked %d times", good, count("half"), count("hung"), hung.Load())
		}
		close(release)
		after(2 * time.Minute)
		if count("hung") == 0 {
			t.Error("a collector that has returned is not asked again")
		}
		mu.Lock()
		defer mu.Unlock()
		for text, want := range map[string]int{"no answer within": 1, "still busy": 1, "no such device": 1, "gone": 1} {
			if n := strings.Count(logged.String(), text); n != want {
				t.Errorf("%q was logged %d times, want %d", text, n, want)
			}
		}
		if n := w.a.collectErrors.Get("panics"); n < 6 {
			t.Errorf("%d failures of the panicking collector counted", n)
		}
	})
}

// A collector that does not answer is told of by a series of its own, which ends by a
// 0; a slow one has its own deadline.
func TestStuckCollectorIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig("t:1")
		delete(cfg.Ignore, "agent.collector.stuck")
		release := make(chan struct{})
		var asked atomic.Int64
		hang := &fake{collect: func(context.Context) ([]collect.Item, error) {
			if asked.Add(1) == 2 {
				<-release
			}
			return nil, nil
		}}
		slow := &slowly{fake{collect: func(ctx context.Context) ([]collect.Item, error) {
			if !run.Sleep(ctx, 20*time.Second) {
				return nil, ctx.Err()
			}
			return []collect.Item{collect.G("slow", 1)}, nil
		}}}
		w := newWorld(t, cfg, newSlot("hang", 1, hang), newSlot("slow", 1, slow))
		defer w.end()
		w.transfers["t:1"].set(func(tr *transfer) { tr.up = true })
		last := func() (all, hang string, slow int) {
			w.transfers["t:1"].set(func(tr *transfer) {
				for _, it := range tr.items {
					f := strings.Fields(it)
					switch f[1] {
					case "agent.collector.stuck{}":
						all = f[5]
					case "agent.collector.stuck{collector=hang}":
						hang = f[5]
					case "slow{}":
						slow++
					}
				}
			})
			return all, hang, slow
		}
		after(2 * time.Second)
		if all, hang, _ := last(); all != "0" || hang != "" {
			t.Errorf("at first stuck is %s, of the one %q", all, hang)
		}
		after(3 * time.Minute)
		if all, hang, slow := last(); all != "1" || hang != "1" || slow < 3 {
			t.Errorf("with one that hangs stuck is %s, of it %q; the slow one has answered %d times", all, hang, slow)
		}
		close(release)
		after(2 * time.Minute)
		if all, hang, _ := last(); all != "0" || hang != "0" {
			t.Errorf("after it has answered stuck is %s, of it %q", all, hang)
		}
	})
}

// slowly is a fake that may take half a minute.
type slowly struct{ fake }

func (*slowly) Deadline() time.Duration { return 30 * time.Second }

type writer func(b []byte)

func (w writer) Write(b []byte) (int, error) { w(b); return len(b), nil }

// NaN is dropped and counted, ignored metrics are not sent, default tags are added
// where the item has none of that name.
func TestWhatIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig("t:1")
		cfg.Ignore["secret"] = true
		cfg.Transfer.Interval *= 1
		cfg.DefaultTags = map[string]string{"idc": "lg", "mount": "none", "a b": "c d"}
		w := newWorld(t, cfg, newSlot("fake", 1, gives(collect.G("m", math.NaN()), collect.G("inf", math.Inf(1)), collect.G("secret", 1),
			collect.C("df", 7, "mount", "/"), collect.G("plain", -1.5))))
		defer w.end()
		w.transfers["t:1"].set(func(tr *transfer) { tr.up = true })
		after(1500 * time.Millisecond)
		ts := time.Now().Unix()
		want := []string{
			fmt.Sprintf("here df{ab=cd,idc=lg,mount=/} COUNTER 60 %d 7", ts),
			fmt.Sprintf("here plain{ab=cd,idc=lg,mount=none} GAUGE 60 %d -1.5", ts),
		}
		w.transfers["t:1"].set(func(tr *transfer) {
			if !slices.Equal(tr.items, want) {
				t.Errorf("sent %q\nwant %q", tr.items, want)
			}
		})
		if n := w.a.refused.Get(model.ReasonValue); n != 2 {
			t.Errorf("%d values refused, want 2", n)
		}
	})
}

// writeRoot writes the files of a host with one disk, one eth0 and one mount, with
// the counters of a current kernel, as they are at the n-th look.
func writeRoot(t *testing.T, root string, n int) {
	t.Helper()
	if n == 0 {
		if err := os.CopyFS(root, os.DirFS("collect/testdata/root")); err != nil {
			t.Fatal(err)
		}
	}
	row := func(proto, names string) string {
		return proto + ": " + names + "\n" + proto + ":" + strings.Repeat(" 1", len(strings.Fields(names))) + "\n"
	}
	netstat := row("TcpExt", "SyncookiesSent PruneCalled LockDroppedIcmps ArpFilter TW DelayedACKLocked ListenOverflows ListenDrops TCPTSReorder TCPDSACKUndo TCPLostRetransmit TCPLossFailures "+
		"TCPFastRetrans TCPTimeouts TCPAbortOnMemory TCPAbortOnTimeout TCPAbortFailed TCPMemoryPressures TCPSpuriousRTOs TCPBacklogDrop TCPMinTTLDrop") + row("IpExt", "InOctets OutOctets")
	snmp := row("Ip", "Forwarding DefaultTTL") + row("Tcp", "RtoAlgorithm RtoMin ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs") +
		row("Udp", "InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors")
	stat := fmt.Sprintf("cpu  %d %d %d %d %d 5 5 5 0 0\nctxt %d\n", 100+n, 200+n, 300+n, 4000+10*n, 50+n, 12345+n)
	for file, text := range map[string]string{"net/netstat": netstat, "self/net/netstat": netstat, "net/snmp": snmp, "self/net/snmp": snmp, "stat": stat} {
		if err := os.WriteFile(filepath.Join(root, "proc", file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// pushedByStock returns what stock agents were seen to send.
func pushedByStock(t *testing.T) (all []model.MetricValue) {
	t.Helper()
	for _, name := range []string{"update_builtin", "update_other", "update_ondemand"} {
		b, err := os.ReadFile("testdata/agent-transfer/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var calls []struct {
			Request struct{ Params [][]model.MetricValue }
		}
		if b[0] == '{' {
			b = append(append([]byte{'['}, b...), ']')
		}
		if err := json.Unmarshal(b, &calls); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, c := range calls {
			for _, items := range c.Request.Params {
				all = append(all, items...)
			}
		}
	}
	return all
}

// Every metric that was captured from a stock agent is made, with its type and the
// names of its tags.
func TestMetricsOfStock(t *testing.T) {
	cfg := testConfig("t:1")
	cfg.Collector.IfacePrefix = []string{"eth"}
	cfg.Collector.MountPoint = []string{"/"}
	root := t.TempDir()
	a, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), Root: root})
	if err != nil {
		t.Fatal(err)
	}
	key := func(metric, typ, tags string) string {
		return metric + "|" + typ + "|" + strings.Join(slices.Sorted(maps.Keys(model.ParseTags(tags))), ",")
	}
	a.demand.apply(&captured(t, "builtinmetrics_new").Result)
	made := map[string]bool{}
	for n := range 2 {
		writeRoot(t, root, n)
		writeAsked(t, root)
		sampled(t, a)
		for _, sl := range a.slots {
			items, err := sl.c.Collect(t.Context())
			if err != nil {
				t.Logf("%s fails on the fake root: %v", sl.name, err)
			}
			for _, it := range items {
				made[key(it.Metric, it.Type, it.Tags)] = true
			}
		}
	}
	stocks := map[string]bool{}
	for _, it := range pushedByStock(t) {
		stocks[key(it.Metric, it.Type, it.Tags)] = true
	}
	if len(stocks) < 100 {
		t.Fatalf("only %d metrics were captured", len(stocks))
	}
	for _, k := range slices.Sorted(maps.Keys(stocks)) {
		if !made[k] {
			t.Errorf("stock sends %s, we do not", k)
		}
	}
}
