package cpu

import (
	"math"
	"os"
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
	root := collect.Root(t.TempDir())
	c := New(root)
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
	root := collect.Root(t.TempDir())
	c := New(root)
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
