package collect_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"falcon/modules/agent/collect"
	"falcon/modules/agent/collect/cpu"
	"falcon/modules/agent/collect/disk"
	"falcon/modules/agent/collect/kernel"
	"falcon/modules/agent/collect/load"
	"falcon/modules/agent/collect/mem"
	"falcon/modules/agent/collect/netif"
	"falcon/modules/agent/collect/netstat"
	"falcon/modules/agent/collect/sockstat"
	"falcon/modules/agent/collect/uptime"
)

var update = flag.Bool("update", false, "write the golden files anew")

var root = collect.At("testdata/root")

// What each collector makes of the files in testdata/root; the values were worked
// out by hand from contract ingest 3.5.
func TestGolden(t *testing.T) {
	for name, c := range map[string]collect.Collector{
		"cpu": cpu.New(root, cpu.Options{}), "disk": disk.New(root), "kernel": kernel.New(root), "load": load.New(root), "mem": mem.New(root),
		"netif": netif.New(root, netif.Options{Prefixes: []string{"eth"}}), "netstat": netstat.New(root), "sockstat": sockstat.New(root), "uptime": uptime.New(root),
	} {
		t.Run(name, func(t *testing.T) {
			items, err := c.Collect(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			for _, it := range items {
				fmt.Fprintf(&b, "%-7s %s{%s} %v\n", it.Type, it.Metric, it.Tags, it.Value)
			}
			golden := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if b.String() != string(want) {
				t.Errorf("got\n%s\nwant\n%s", &b, want)
			}
		})
	}
}

// A root without the files: an error that names the file, and no panic.
func TestMissingFiles(t *testing.T) {
	empty := collect.At(t.TempDir())
	if err := os.Mkdir(empty.Path("proc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]collect.Collector{
		"cpu": cpu.New(empty, cpu.Options{}), "disk": disk.New(empty), "kernel": kernel.New(empty), "load": load.New(empty), "mem": mem.New(empty),
		"netif": netif.New(empty, netif.Options{}), "netstat": netstat.New(empty), "sockstat": sockstat.New(empty), "uptime": uptime.New(empty),
	} {
		if items, err := c.Collect(context.Background()); err == nil || len(items) > 0 {
			t.Errorf("%s without files gives %d items and error %v", name, len(items), err)
		}
	}
}
