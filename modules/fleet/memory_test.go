package fleet

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"falcon/common/testkit"
	"falcon/modules/load"
)

const (
	memoryRate   = 100_000 // points a second
	memorySeries = 10_000
	memorySpool  = 16 // MB, for each peer
	// memoryGrowth is how much larger than under the same load without a fault a daemon may
	// become, in bytes. transfer has in memory what came within spool.after (500 ms, 50 000
	// points) for each of two peers, and chunks on their way to and from the disk; graph and
	// judge have what they are sent before they acknowledge it. At a hundred bytes a point
	// that is 10 MB, twice for the garbage, and with the buffers of connections far below this.
	memoryGrowth = 96 << 20
	// memoryPoint is what graph may have for each point that it keeps: those of open windows
	// are in memory, and the files of the others are mapped into it.
	memoryPoint = 16
)

// onDisk is how many bytes the files below dir have.
func onDisk(t testing.TB, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it went while this looked
		}
		if err != nil || d.IsDir() {
			return err
		}
		if info, err := d.Info(); err == nil {
			n += info.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A graph, and a judge, get a tenth of each second under full load, so that more is sent to
// them than they take; and one hangs altogether. Nobody's memory grows, the spool keeps its
// bound, transfer names whom it waits for, and at the end everything that was acknowledged
// is in graph. Five minutes each in the long form.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	lasts := 5 * time.Second
	if os.Getenv("FALCON_SOAK") != "" {
		lasts = 5 * time.Minute
	}
	for _, tc := range []struct {
		name, victim string
		runs         time.Duration // of each second
	}{
		{"slow graph", "graph", 100 * time.Millisecond},
		{"hanging graph", "graph", 0},
		{"slow judge", "judge", 100 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			all := map[string]*lone{}
			for _, name := range []string{"graph", "judge", "transfer"} {
				all[name] = newLone(t, name, dir)
			}
			address := map[string]string{"graph": testkit.FreeAddr(t), "judge": testkit.FreeAddr(t), "transfer": testkit.FreeAddr(t)}
			for name, l := range all {
				cfg := loneConfig(t, name, l.at, l.peer)
				cfg["rpc"] = values{"enabled": true, "listen": address[name]}
				if name == "transfer" {
					cfg["minStep"] = 10
					cfg["spool"] = values{"dir": "transfer", "maxSize": memorySpool}
					cfg["graph"] = values{"enabled": true, "cluster": values{"graph-00": address["graph"]}}
					cfg["judge"] = values{"enabled": true, "cluster": values{"judge-00": address["judge"]}}
				}
				l.write(cfg)
				l.start()
			}
			for _, l := range all {
				l.serves()
			}

			c := load.DefaultConfig()
			c.To, c.Step, c.Endpoints, c.Metrics, c.Rate = address["transfer"], 10, memorySeries/100, 100, memoryRate
			c.Rounds = int((lasts + 2*time.Second).Seconds()) * memoryRate / memorySeries
			c.Graphs, c.Settle = map[string]string{"graph-00": address["graph"]}, time.Minute
			wait := startLoad(t, c)
			testkit.Eventually(t, 20*time.Second, func() error { // every series is there
				n, err := counterAt(all["graph"].at, "GraphRpcRecvCnt")
				if err == nil && n < 10*memorySeries {
					err = fmt.Errorf("graph has %v points", n)
				}
				return err
			})
			before, most := map[string]int{}, map[string]int{}
			for name, l := range all {
				before[name] = l.p.Memory()
			}
			named, spool := false, int64(0)
			for end := time.Now().Add(lasts); time.Now().Before(end); {
				resume := all[tc.victim].p.Pause()
				for range 9 {
					<-time.After(100 * time.Millisecond)
					for name, l := range all {
						most[name] = max(most[name], l.p.Memory())
					}
					spool = max(spool, onDisk(t, filepath.Join(dir, "transfer")))
				}
				code, text, err := all["transfer"].get("/health")
				if err != nil {
					t.Fatal(err)
				}
				named = named || strings.Contains(text, tc.victim+" "+tc.victim+"-00 at")
				if code != http.StatusOK && !strings.Contains(text, "takes nothing") {
					t.Errorf("transfer says %d %q", code, text)
				}
				if tc.runs > 0 {
					resume()
					<-time.After(tc.runs)
				}
			}
			all[tc.victim].p.Pause()()
			report, err := wait()
			if err != nil {
				t.Fatal(err)
			}
			if !named {
				t.Errorf("transfer does not say that it waits for %s", tc.victim)
			}
			if most := int64(2 * memorySpool << 20); spool > most {
				t.Errorf("the spools have %d bytes, %d are configured", spool, most)
			}
			names := []string{}
			for name := range all {
				most[name] = max(most[name], all[name].p.Memory())
				names = append(names, fmt.Sprintf("%s %d MB, %d before", name, most[name]>>20, before[name]>>20))
				bound := before[name] + memoryGrowth
				if name == "graph" {
					bound += memoryPoint * int(report.Acked)
				}
				if most[name] > bound {
					t.Errorf("%s grew from %d to %d bytes", name, before[name], most[name])
				}
			}
			slices.Sort(names)
			testkit.Outcome(t, "%d points acknowledged, %d pushes sent again; %s; spools %d KB at most", report.Acked, report.Retried, strings.Join(names, "; "), spool>>10)
			testkit.Eventually(t, 30*time.Second, func() error {
				if code, text, err := all["transfer"].get("/health"); err != nil || code != http.StatusOK || strings.Contains(text, "spooled") {
					return fmt.Errorf("transfer says %d %q, %v", code, text, err)
				}
				return nil
			})
			for _, name := range []string{"transfer", "graph", "judge"} {
				all[name].p.Stop()
			}
		})
	}
}
