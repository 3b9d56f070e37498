package disk

import (
	"fmt"
	"os"
	"testing"
	"time"

	"falcon/modules/agent/collect"
)

func TestGaugesOfTheLastSecond(t *testing.T) {
	root := collect.At(t.TempDir())
	for _, dir := range []string{"proc", "sys"} {
		if err := os.Mkdir(root.Path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Unix(1000, 0)
	c := New(root)
	c.now = func() time.Time { return now }
	look := func(reads, readSectors, readMs, writes, writeSectors, writeMs, busy, weighted int) {
		t.Helper()
		line := fmt.Sprintf("8 0 sda %d 0 %d %d %d 0 %d %d 0 %d %d\n", reads, readSectors, readMs, writes, writeSectors, writeMs, busy, weighted)
		if err := os.WriteFile(root.Path("proc/diskstats"), []byte(line), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := c.Sample(); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Second)
	}
	gauges := func() map[string]float64 {
		t.Helper()
		items, err := c.Collect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		m := map[string]float64{}
		for _, it := range items {
			if it.Type == "GAUGE" {
				m[it.Metric] = it.Value
			}
		}
		return m
	}
	look(10, 100, 5, 20, 200, 8, 10, 30)
	if g := gauges(); len(g) != 0 {
		t.Errorf("gauges after one sample: %v", g)
	}
	look(14, 180, 13, 26, 320, 20, 510, 2030)
	for metric, want := range map[string]float64{
		"disk.io.read_bytes": 80 * 512, "disk.io.write_bytes": 120 * 512, "disk.io.avgrq_sz": 20,
		"disk.io.avgqu-sz": 2, "disk.io.await": 2, "disk.io.svctm": 50, "disk.io.util": 50,
	} {
		if got := gauges()[metric]; got != want {
			t.Errorf("%s = %v, want %v", metric, got, want)
		}
	}
	// The device came back with counters at zero: nothing negative, nothing huge.
	look(1, 2, 3, 4, 5, 6, 7, 8)
	for metric, v := range gauges() {
		if v != 0 {
			t.Errorf("after a restart of the counters %s = %v, want 0", metric, v)
		}
	}
}

func TestIsDisk(t *testing.T) {
	for name, want := range map[string]bool{
		"sda": true, "sdaa": true, "sda1": false, "vdb": true, "vdb2": false, "xvda1": true, "nvme0n1": true, "nvme0n1p1": true,
		"nbd0": true, "fioa": true, "loop0": false, "dm-0": false, "sr0": false, "sdaaa": false, "md": false,
	} {
		if got := isDisk(name); got != want {
			t.Errorf("isDisk(%q) = %v, want %v", name, got, want)
		}
	}
}
