package netstat

import (
	"fmt"
	"os"
	"testing"

	"falcon/modules/agent/collect"
)

// The rate is of the segments since the last look; there is none at the first look and
// after the counters began anew.
func TestFastRetransRate(t *testing.T) {
	root := collect.At(t.TempDir())
	if err := os.MkdirAll(root.Path("proc/net"), 0o755); err != nil {
		t.Fatal(err)
	}
	c := New(root)
	for i, look := range []struct {
		again, sent int
		want        string
	}{
		{1000, 1_000_000, "none"},
		{1010, 1_010_000, "10"}, // 10 of 10 000
		{1010, 1_010_000, "0"},  // nothing was sent
		{1011, 1_010_100, "100"},
		{5, 1000, "none"}, // a restart of the namespace
		{6, 3000, "5"},
	} {
		for file, text := range map[string]string{
			"netstat": fmt.Sprintf("TcpExt: SyncookiesSent TCPFastRetrans\nTcpExt: 0 %d\n", look.again),
			"snmp":    fmt.Sprintf("Tcp: InSegs OutSegs RetransSegs InErrs\nTcp: 1 %d 2 3\nUdp: InDatagrams\nUdp: 4\n", look.sent),
		} {
			if err := os.WriteFile(root.Path("proc/net", file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		items, err := c.Collect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := "none"
		if v, ok := find(items, "TcpExt.TCPFastRetransRate"); ok {
			got = fmt.Sprint(v)
		}
		if got != look.want {
			t.Errorf("look %d: the rate is %s, want %s", i, got, look.want)
		}
		if v, ok := find(items, "TcpPkg.OutSegs"); !ok || v != float64(look.sent) {
			t.Errorf("look %d: TcpPkg.OutSegs is %v, want %d", i, v, look.sent)
		}
	}
}
