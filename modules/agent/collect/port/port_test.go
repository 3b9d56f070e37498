package port

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"falcon/modules/agent/collect"
)

const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

func line(local, state string) string {
	return "   0: " + local + " 00000000:0000 " + state + " 00000000:00000000 00:00000000 00000000     0        0 20266 1 0000000000000000 100 0 0 10 0\n"
}

func table(t *testing.T, root collect.Root, name, text string) {
	t.Helper()
	if err := os.MkdirAll(root.Path("proc/net"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(root.Path("proc/net", name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func shown(items []collect.Item) (out []string) {
	for _, it := range items {
		out = append(out, fmt.Sprintf("%s %s %s=%v", it.Metric, it.Type, it.Tags, it.Value))
	}
	return out
}

// Ports of all four tables count; of TCP those that are listened on, of UDP all.
func TestTables(t *testing.T) {
	root := collect.At(t.TempDir())
	v6 := strings.Repeat("0", 32)
	table(t, root, "tcp", head+line("0100007F:0050", "0A")+line("0100007F:0051", "01")+"garbage\n"+line("00000000:ZZZZ", "0A")+
		strings.Repeat("x", 10_000)+"\n"+line("00000000:0052", "0A"))
	table(t, root, "tcp6", head+line(v6+":0053", "0A")+line(v6+":0054", "06"))
	table(t, root, "udp", head+line("00000000:0055", "07")+line("00000000:0056", "01"))
	table(t, root, "udp6", head+line(v6+":0057", "07"))
	c := New(root)
	var tags []string
	for p := 80; p <= 88; p++ {
		tags = append(tags, fmt.Sprintf("port=%d", p))
	}
	if refused := c.Want(tags); refused != nil {
		t.Fatalf("refused %v", refused)
	}
	items, err := c.Collect(t.Context())
	var want []string
	for p, v := range []int{1, 0, 1, 1, 0, 1, 1, 1, 0} {
		want = append(want, fmt.Sprintf("net.port.listen GAUGE port=%d=%d", 80+p, v))
	}
	if got := shown(items); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if err == nil || !strings.Contains(err.Error(), "3 lines of "+root.Path("proc/net/tcp")) {
		t.Errorf("three lines that can not be read: %v", err)
	}
}

// While a table can not be read, only what the others show is known.
func TestTableAway(t *testing.T) {
	root := collect.At(t.TempDir())
	c := New(root)
	c.Want([]string{"port=80", "port=81"})
	if items, err := c.Collect(t.Context()); err == nil || items != nil {
		t.Errorf("without any table: %v, %v", items, err)
	}
	table(t, root, "tcp", head+line("0100007F:0050", "0A"))
	if items, err := c.Collect(t.Context()); err != nil || len(items) != 2 {
		t.Errorf("without IPv6 and UDP: %v, %v", shown(items), err)
	}
	if err := os.Mkdir(root.Path("proc/net/tcp6"), 0o755); err != nil { // reading it fails
		t.Fatal(err)
	}
	items, err := c.Collect(t.Context())
	if got := shown(items); err == nil || !slices.Equal(got, []string{"net.port.listen GAUGE port=80=1"}) {
		t.Errorf("with a table that can not be read: %v, %v", got, err)
	}
}

func TestWant(t *testing.T) {
	for tags, ok := range map[string]bool{
		"port=80": true, "x=80": true, "port= 80 ": true, "port=-1": true, "port=99999": true,
		"port": false, "": false, "port=": false, "port=a": false, "port=80,a=b": false, "port=8=0": false,
	} {
		refused := New(collect.At("/")).Want([]string{tags})
		if (len(refused) == 0) != ok {
			t.Errorf("%q: refused %v", tags, refused)
		}
	}
	c := New(collect.At("/"))
	c.Want([]string{"port=80", "port=080", "p=80"})
	if got := c.wants.Get(); !slices.Equal(got, []int64{80}) {
		t.Errorf("wanted %v", got)
	}
	c.Want(nil)
	if items, err := c.Collect(t.Context()); items != nil || err != nil {
		t.Errorf("with nothing wanted: %v, %v", items, err)
	}
}

// On this machine: what this test listens on is found, and no more once it does not.
func TestHere(t *testing.T) {
	if _, err := os.Stat("/proc/net/tcp"); err != nil {
		t.Skip("no /proc/net/tcp here")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, p, _ := net.SplitHostPort(ln.Addr().String())
	c := New(collect.At("/"))
	c.Want([]string{"port=" + p})
	for _, want := range []float64{1, 0} {
		items, err := c.Collect(t.Context())
		if err != nil || len(items) != 1 || items[0].Value != want {
			t.Errorf("port %s: %v, %v, want %v", p, items, err, want)
		}
		ln.Close()
	}
}

func FuzzLocal(f *testing.F) {
	f.Add(line("0100007F:0050", "0A"))
	f.Add(head)
	f.Fuzz(func(t *testing.T, s string) {
		if p, _, ok := local(s); ok && (p < 0 || p > 65535) {
			t.Errorf("%q has port %d", s, p)
		}
		dir := t.TempDir()
		table(t, collect.At(dir), "tcp", s)
		c := New(collect.At(dir))
		c.Want([]string{"port=80"})
		if items, _ := c.Collect(t.Context()); len(items) != 1 {
			t.Errorf("%q costs other lines: %v in %s", s, items, filepath.Join(dir, "proc"))
		}
	})
}
