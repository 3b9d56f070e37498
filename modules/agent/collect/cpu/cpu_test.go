package cpu

import (
	"maps"
	"math"
	"os"
	"strings"
	"testing"

	"falcon/modules/agent/collect"
)

func look(t *testing.T, root collect.Root, line string) {
	t.Helper()
	if err := os.MkdirAll(root.Path("proc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(root.Path("proc/stat"), []byte(line+"\nctxt 7\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestSharesOfTheLastSecond(t *testing.T) {
	root := collect.At(t.TempDir())
	c := New(root, Options{})
	look(t, root, "cpu 100 0 100 800 0 0 0 0 0 0")
	if err := c.Sample(); err != nil {
		t.Fatal(err)
	}
	if items, err := c.Collect(t.Context()); err != nil || len(items) != 1 {
		t.Fatalf("after one sample: %v, %v; want cpu.switches only", items, err)
	}
	// 100 ticks: 50 user, of which 20 for guests, and 50 idle.
	look(t, root, "cpu 150 0 100 850 0 0 0 0 20 0")
	if err := c.Sample(); err != nil {
		t.Fatal(err)
	}
	items, err := c.Collect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{"cpu.switches": 7, "cpu.idle": 50, "cpu.busy": 50, "cpu.user": 50, "cpu.guest": 20,
		"cpu.nice": 0, "cpu.system": 0, "cpu.iowait": 0, "cpu.irq": 0, "cpu.softirq": 0, "cpu.steal": 0}
	if len(items) != len(want) {
		t.Errorf("%d items, want %d", len(items), len(want))
	}
	for _, it := range items {
		if math.Abs(it.Value-want[it.Metric]) > 1e-9 {
			t.Errorf("%s = %v, want %v", it.Metric, it.Value, want[it.Metric])
		}
	}
}

// A counter of the kernel may go back a little; a share never leaves 0 to 100.
func TestACounterThatGoesBack(t *testing.T) {
	root := collect.At(t.TempDir())
	c := New(root, Options{})
	for _, line := range []string{"cpu 100 0 0 900 50 0 0 0 0 0", "cpu 110 0 0 990 40 0 0 0 0 0"} {
		look(t, root, line)
		if err := c.Sample(); err != nil {
			t.Fatal(err)
		}
	}
	items, err := c.Collect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range items[1:] {
		if it.Value < 0 || it.Value > 100 {
			t.Errorf("%s = %v", it.Metric, it.Value)
		}
	}
}

// Each processor has its own shares, under a name with two digits; one that was offline
// at either sample has none, and comes with the next.
func TestPerCore(t *testing.T) {
	root := collect.At(t.TempDir())
	c := New(root, Options{PerCore: true, Pad: 2})
	at := func(lines ...string) (percore map[string]float64, cores float64) {
		t.Helper()
		look(t, root, "cpu 0 0 0 0 0 0 0 0 0 0\n"+strings.Join(lines, "\n"))
		if err := c.Sample(); err != nil {
			t.Fatal(err)
		}
		items, err := c.Collect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		percore = map[string]float64{}
		for _, it := range items {
			switch {
			case it.Metric == "host.cpucores":
				cores = it.Value
			case strings.HasPrefix(it.Metric, "percore.") && it.Value != 0:
				percore[it.Metric+"{"+it.Tags+"}"] = it.Value
			}
		}
		return percore, cores
	}
	if got, cores := at("cpu0 0 0 0 100 0 0 0 0 0 0", "cpu1 0 0 0 100 0 0 0 0 0 0"); len(got) != 0 || cores != 2 {
		t.Errorf("after one sample: %v of %v processors", got, cores)
	}
	got, _ := at("cpu0 25 0 0 175 0 0 0 0 0 0", "cpu1 0 0 100 100 0 0 0 0 0 0", "cpu100 0 0 0 7 0 0 0 0 0 0")
	want := map[string]float64{
		"percore.idle{core=core00}": 75, "percore.busy{core=core00}": 25, "percore.user{core=core00}": 25,
		"percore.busy{core=core01}": 100, "percore.system{core=core01}": 100,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	got, cores := at("cpu0 25 0 0 275 0 0 0 0 0 0", "cpu100 10 0 0 7 0 0 0 0 0 0")
	want = map[string]float64{"percore.idle{core=core00}": 100, "percore.busy{core=core100}": 100, "percore.user{core=core100}": 100}
	if !maps.Equal(got, want) || cores != 2 {
		t.Errorf("with one offline: got %v of %v, want %v of 2", got, cores, want)
	}
	if got, _ := at("cpu0 0 0 0 5 0 0 0 0 0 0"); len(got) != 0 {
		t.Errorf("counters that began anew give %v", got)
	}
	c.opts.Pad = 0
	at("cpu1 0 0 0 0 0 0 0 0 0 0")
	if got, _ := at("cpu1 0 0 0 10 0 0 0 0 0 0"); got["percore.idle{core=core1}"] != 100 {
		t.Errorf("without digits to fill: %v", got)
	}
}
