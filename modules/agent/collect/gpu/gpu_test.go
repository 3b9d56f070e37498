package gpu

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"falcon/common/testkit"
	"falcon/modules/agent/collect"
)

// smi writes a nvidia-smi that runs these lines of sh, and returns a collector of it.
func smi(t *testing.T, script string) *Collector {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nvidia-smi")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return &Collector{path, 30 * time.Second}
}

func show(items []collect.Item) string {
	var b strings.Builder
	for _, it := range items {
		fmt.Fprintf(&b, "%s %s{%s} %v\n", it.Type, it.Metric, it.Tags, it.Value)
	}
	return b.String()
}

func TestCards(t *testing.T) {
	for _, tc := range []struct{ name, says, want, err string }{
		{"one card", "GPU-a1, 45, 15360, 1024, 12, 34, 70.25, 30", `GAUGE gpu.temperature{uuid=GPU-a1} 45
GAUGE gpu.memory.total{uuid=GPU-a1} 15360
GAUGE gpu.memory.used{uuid=GPU-a1} 1024
GAUGE gpu.memory.util{uuid=GPU-a1} 12
GAUGE gpu.util{uuid=GPU-a1} 34
GAUGE gpu.power.usage{uuid=GPU-a1} 70.25
GAUGE gpu.fan.speed{uuid=GPU-a1} 30
GAUGE gpu.count{} 1
GAUGE gpu.util.avg{} 34
GAUGE gpu.memory.util.avg{} 12
`, ""},
		{"two cards, averages without a rest", "GPU-a, 40, 1, 1, 1, 30, 1, 1\nGPU-b, 41, 1, 1, 4, 35, 1, 1\n", `GAUGE gpu.temperature{uuid=GPU-a} 40
GAUGE gpu.memory.total{uuid=GPU-a} 1
GAUGE gpu.memory.used{uuid=GPU-a} 1
GAUGE gpu.memory.util{uuid=GPU-a} 1
GAUGE gpu.util{uuid=GPU-a} 30
GAUGE gpu.power.usage{uuid=GPU-a} 1
GAUGE gpu.fan.speed{uuid=GPU-a} 1
GAUGE gpu.temperature{uuid=GPU-b} 41
GAUGE gpu.memory.total{uuid=GPU-b} 1
GAUGE gpu.memory.used{uuid=GPU-b} 1
GAUGE gpu.memory.util{uuid=GPU-b} 4
GAUGE gpu.util{uuid=GPU-b} 35
GAUGE gpu.power.usage{uuid=GPU-b} 1
GAUGE gpu.fan.speed{uuid=GPU-b} 1
GAUGE gpu.count{} 2
GAUGE gpu.util.avg{} 32
GAUGE gpu.memory.util.avg{} 2
`, ""},
		{"what a card does not tell is left out", "GPU-a, 40, 15360, 3, [Not Supported], [N/A], ERR!, N/A\nGPU-b, [Unknown Error], nan, inf, 7, 9, [GPU requires reset], [N/A]", `GAUGE gpu.temperature{uuid=GPU-a} 40
GAUGE gpu.memory.total{uuid=GPU-a} 15360
GAUGE gpu.memory.used{uuid=GPU-a} 3
GAUGE gpu.memory.util{uuid=GPU-b} 7
GAUGE gpu.util{uuid=GPU-b} 9
GAUGE gpu.count{} 2
GAUGE gpu.util.avg{} 9
GAUGE gpu.memory.util.avg{} 7
`, ""},
		{"no utilisation at all, no averages", "GPU-a, 40, [N/A], [N/A], [N/A], [N/A], [N/A], [N/A]", "GAUGE gpu.temperature{uuid=GPU-a} 40\nGAUGE gpu.count{} 1\n", ""},
		{"a bad line costs its card", "Unable to determine the device handle for GPU 0000:3B:00.0: GPU is lost.\nGPU-b, 40, [N/A], [N/A], [N/A], [N/A], [N/A], [N/A]",
			"GAUGE gpu.temperature{uuid=GPU-b} 40\nGAUGE gpu.count{} 1\n", "GPU is lost"},
		{"no card", "No devices were found\n", "GAUGE gpu.count{} 0\n", ""},
		{"nothing", "", "", "names no card"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			exit := 0
			if tc.name == "no card" {
				exit = 6
			}
			items, err := smi(t, fmt.Sprintf("cat <<'E'\n%s\nE\nexit %d\n", tc.says, exit)).Collect(t.Context())
			if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("error %v, want %q", err, tc.err)
			}
			if got := show(items); got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

// It is asked for the columns that are read, without header and units.
func TestWhatIsAskedFor(t *testing.T) {
	c := smi(t, `[ "$*" = "--query-gpu=uuid,temperature.gpu,memory.total,memory.used,utilization.memory,utilization.gpu,power.draw,fan.speed --format=csv,noheader,nounits" ] || exit 9
[ "$LC_ALL" = C ] || exit 8
echo "GPU-a, 1, 2, 3, 4, 5, 6, 7"`)
	if items, err := c.Collect(t.Context()); err != nil || len(items) != 10 {
		t.Errorf("%d items, %v", len(items), err)
	}
}

func TestNoProgramNoError(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if items, err := New().Collect(t.Context()); err != nil || items != nil {
		t.Errorf("without nvidia-smi there are %v and error %v", items, err)
	}
}

// A driver that does not work is an error with the program's own words.
func TestBrokenDriver(t *testing.T) {
	_, err := smi(t, "echo 'NVIDIA-SMI has failed because it could not'\necho 'communicate with the driver.'\nexit 9").Collect(t.Context())
	if err == nil || !strings.Contains(err.Error(), "has failed because it could not communicate") || !strings.Contains(err.Error(), "exit status 9") {
		t.Errorf("error %v", err)
	}
}

func TestEndlessOutput(t *testing.T) {
	_, err := smi(t, "head -c 3000000 /dev/zero").Collect(t.Context())
	if err == nil || !strings.Contains(err.Error(), "more than 1 MiB") {
		t.Errorf("error %v", err)
	}
}

// One that hangs is killed with its children.
func TestHanging(t *testing.T) {
	dir := t.TempDir()
	c := smi(t, "trap '' TERM INT\nsleep 600 &\necho $! > "+dir+"/new && mv "+dir+"/new "+dir+"/child\nwait\nsleep 600\n")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := c.Collect(ctx)
		ended <- err
	}()
	var pid int
	testkit.Eventually(t, 10*time.Second, func() error {
		b, err := os.ReadFile(filepath.Join(dir, "child"))
		if err == nil {
			_, err = fmt.Sscan(string(b), &pid)
		}
		return err
	})
	cancel()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("error %v", err)
	}
	testkit.Eventually(t, 10*time.Second, func() error {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !strings.Contains(string(b), ") Z ") && syscall.Kill(pid, 0) == nil {
			return fmt.Errorf("child %d lives", pid)
		}
		return nil
	})
}

// No output makes it panic or yields a value that can not be sent.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"GPU-a, 45, 15360, 1024, 12, 34, 70.25, 30\n", "No devices were found", "a,\"b\n", "GPU=x y, 1e999, nan, -inf, 1, 1, 1, 1"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, out []byte) {
		items, err := parse(out)
		if len(items) == 0 && err == nil {
			t.Error("neither values nor an error")
		}
		for _, it := range items {
			if math.IsNaN(it.Value) || math.IsInf(it.Value, 0) {
				t.Errorf("%s is %v", it.Metric, it.Value)
			}
			if strings.Count(it.Tags, "=") > 1 || strings.ContainsAny(it.Tags, ",\r\n") {
				t.Errorf("tags %q", it.Tags)
			}
		}
	})
}
