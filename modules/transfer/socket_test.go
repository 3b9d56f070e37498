package transfer

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/common/testkit"
)

func TestParseLine(t *testing.T) {
	for _, tc := range []struct {
		line string
		want *item
	}{
		{"update h m 1500000000 7", &item{Endpoint: "h", Metric: "m", Value: 7.0, Step: 60, Type: "COUNTER", Timestamp: 1500000000}},
		{"update h m 1 -7.5e3 GAUGE", &item{Endpoint: "h", Metric: "m", Value: -7500.0, Step: 60, Type: "GAUGE", Timestamp: 1}},
		{"update h m/a=b 1 0 DERIVE 30", &item{Endpoint: "h", Metric: "m/a=b", Value: 0.0, Step: 30, Type: "DERIVE", Timestamp: 1}},
		{"update h m 1 0 GAUGE 120:0:U:10", &item{Endpoint: "h", Metric: "m", Value: 0.0, Step: 10, Type: "GAUGE", Timestamp: 1}},
		{" update  h\tm 1 0\r", &item{Endpoint: "h", Metric: "m", Value: 0.0, Step: 60, Type: "COUNTER", Timestamp: 1}},
		{"update h m 1 0 GAUGE 120:0:10", nil},
		{"update h m 1 0 GAUGE x", nil},
		{"update h m 1.5 0", nil},
		{"update h m 1 x", nil},
		{"update h m 1", nil},
		{"update h m 1 0 GAUGE 60 more", nil},
		{"Update h m 1 0", nil},
		{"bogus line", nil},
	} {
		if got := parseLine(strings.Fields(tc.line)); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("parseLine(%q)\n got %+v\nwant %+v", tc.line, got, tc.want)
		}
	}
}

// lineWorld runs a transfer with the line protocol for a stock graph, and returns it
// with the address for lines and a function that stops it.
func lineWorld(t *testing.T, change func(*Config)) (tr *Transfer, g *stockGraph, addr string, stop func()) {
	t.Helper()
	g = &stockGraph{}
	p := &place{t: t}
	p.stock(g)
	t.Cleanup(func() { p.stop() })
	cfg := testConfig(t, p.addr)
	cfg.Spool.After = conf.Duration(10 * time.Second)
	if change != nil {
		change(&cfg)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	if tr, err = New(cfg, Deps{Log: slog.New(slog.DiscardHandler), Socket: ln, Ready: func() { close(ready) }}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- tr.Run(ctx) }()
	<-ready
	once := false
	stop = func() {
		if once {
			return
		}
		once = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(stop)
	return tr, g, ln.Addr().String(), stop
}

func dialLines(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn)
}

// wantItems waits until g has n items and returns them as text.
func wantItems(t *testing.T, g *stockGraph, n int) []string {
	t.Helper()
	var all []string
	testkit.Eventually(t, 10*time.Second, func() error {
		g.mu.Lock()
		defer g.mu.Unlock()
		all = nil
		for _, it := range g.items {
			all = append(all, fmt.Sprintf("%s %s %d %v %s %d", it.Endpoint, it.Metric, it.Timestamp, it.Value, it.DsType, it.Step))
		}
		if len(all) != n {
			return fmt.Errorf("graph has %d items, want %d: %v", len(all), n, all)
		}
		return nil
	})
	return all
}

// What was written to a stock transfer brings the same points, without an answer.
func TestStockLines(t *testing.T) {
	tr, g, addr, _ := lineWorld(t, nil)
	c := dialLines(t, addr)
	if _, err := c.Write(readFile(t, "testdata/telnet-transfer/lines.c2s.bin")); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); err != nil || len(b) > 0 { // quit ends it
		t.Errorf("the answer is %q, %v", b, err)
	}
	got := wantItems(t, g, 3)
	want := []string{ // as graph gets it: on the step, a COUNTER as the rate it is stored as
		"it-h1 it.g_tel 1500000000 7 DERIVE 60",
		"it-h1 it.g_tel2 1500000000 8 GAUGE 30",
		"it-h1 it.g_tel3 1500000000 9 GAUGE 60",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("graph got\n %q\nwant\n %q", got, want)
	}
	if n := tr.socketRecv.Get(); n != 3 || tr.recv.Get() != 3 || tr.ignoredLines.Get() != 1 {
		t.Errorf("SocketRecvCnt %d, RecvCnt %d, ignored %d; want 3, 3, 1", n, tr.recv.Get(), tr.ignoredLines.Get())
	}
}

// Lines are taken while the connection is open, whatever the pieces they come in; what
// can not be a point harms none of its neighbours.
func TestLinesAreTakenAtOnce(t *testing.T) {
	tr, g, addr, _ := lineWorld(t, nil)
	c := dialLines(t, addr)
	write := func(s string) {
		t.Helper()
		if _, err := io.WriteString(c, s); err != nil {
			t.Fatal(err)
		}
	}
	write("update h a 1500000000 1 GAUGE\r\nupdate h b 15000")
	wantItems(t, g, 1)
	write("00000 2 GAUGE\nupdate h c 1500000000 NaN\nupdate h d 1500000000 1 TEXT\n\nupdate  h e 1500000000 1 GAUGE -3\n")
	wantItems(t, g, 2)
	write(strings.Repeat("x", 5*maxLine) + "\nupdate h f 1500000000 3 GAUGE\n")
	wantItems(t, g, 3)
	write("update h g 1500000000 4 GAUGE") // the end of the connection ends the line
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(wantItems(t, g, 4), "\n")
	for _, metric := range []string{"a", "b", "f", "g"} {
		if !strings.Contains(got, "h "+metric+" 1500000000") {
			t.Errorf("%s is missing in\n%s", metric, got)
		}
	}
	for reason, want := range map[string]int64{model.ReasonValue: 1, model.ReasonType: 1, model.ReasonStep: 1} {
		if n := tr.refused.Get(reason); n != want {
			t.Errorf("%d points are refused as %s, want %d", n, reason, want)
		}
	}
	if n := tr.ignoredLines.Get(); n != 1 {
		t.Errorf("%d lines are ignored, want the long one", n)
	}
}

// A flood of lines arrives whole and in order, in calls of many.
func TestManyLines(t *testing.T) {
	_, g, addr, _ := lineWorld(t, nil)
	c := dialLines(t, addr)
	const n = 5000
	go func() {
		for i := range n {
			fmt.Fprintf(c, "update h m %d %d GAUGE 30\n", 1500000000+30*i, i)
		}
		_, _ = io.WriteString(c, "quit\n")
	}()
	got := wantItems(t, g, n)
	for i, s := range got {
		if want := fmt.Sprintf("h m %d %d GAUGE 30", 1500000000+30*i, i); s != want {
			t.Fatalf("item %d is %q, want %q", i, s, want)
		}
	}
	if len(g.calls) > n/4 {
		t.Errorf("%d points came in %d calls", n, len(g.calls))
	}
}

// A silent connection is closed after the timeout.
func TestSilentLinesEnd(t *testing.T) {
	_, g, addr, _ := lineWorld(t, func(c *Config) { c.Socket.Timeout = conf.Seconds(50 * time.Millisecond) })
	c := dialLines(t, addr)
	if _, err := io.WriteString(c, "update h m 1500000000 1 GAUGE\nupdate h n 150"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); err != nil {
		t.Errorf("the end of the connection: %v", err)
	}
	wantItems(t, g, 1)
}

// What was read before a stop is with the graph after it.
func TestStopKeepsLines(t *testing.T) {
	tr, g, addr, stop := lineWorld(t, nil)
	c := dialLines(t, addr)
	if _, err := io.WriteString(c, "update h m 1500000000 1 GAUGE\n"); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 10*time.Second, func() error {
		if tr.outlets[0].received.Get() == 0 {
			return fmt.Errorf("nothing is read yet")
		}
		return nil
	})
	stop()
	wantItems(t, g, 1)
	if _, err := c.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("the connection is open after the stop: %v", err)
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("update h m 1500000000 1 GAUGE 30\nquit\n"), 7)
	f.Add([]byte("update h m 1 1 GAUGE 1:2:3:4\r\n\x00\nupdate"), 3)
	tr, err := New(nowhere(f), Deps{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		// In however many pieces it comes, the same points are taken.
		points := func(pieces ...[]byte) (all []string) {
			l := lines{t: tr}
			var rest []byte
			for _, p := range pieces {
				var quit bool
				if rest, quit = l.split(append(rest, p...)); quit {
					break
				}
			}
			for _, it := range l.items {
				all = append(all, fmt.Sprintf("%+v", *it))
			}
			return all
		}
		if strings.Count(string(b), "\n") >= maxLineItems {
			return
		}
		cut = max(0, min(cut, len(b)))
		whole, parts := points(append([]byte(nil), b...)), points(append([]byte(nil), b[:cut]...), b[cut:])
		if !reflect.DeepEqual(whole, parts) {
			t.Errorf("%q cut at %d\nwhole %q\nparts %q", b, cut, whole, parts)
		}
	})
}
