package portal

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"falcon/common/testkit"
)

// The writers of the collision test are this test binary, started again.
const writersEnv = "FALCON_PORTAL_TEST_WRITERS"

// writersJob is what one of the processes is told.
type writersJob struct {
	Config  Config
	Seed    uint64
	Writers int
	For     time.Duration
}

const (
	collideEndpoints = 20
	collideCounters  = 15
	collideStart     = 1_795_000_000
)

// Sixteen writers in two processes enter the same series at once, in any order,
// while a lock may be waited for one second only. None of them fails, no row is
// missing, doubled or older than what was written, and nobody used the statements
// that are banned.
func TestWritersOfTheSameSeries(t *testing.T) {
	if job := os.Getenv(writersEnv); job != "" {
		runWriters(t, job)
		return
	}
	cfg := testMySQL(t)
	length := 5 * time.Second
	if os.Getenv("FALCON_SOAK") != "" {
		length = 30 * time.Second
	} else if testing.Short() {
		length = time.Second
	}
	db := openTest(t, cfg)
	restore := setGlobals(t, db.Graph, map[string]string{"innodb_lock_wait_timeout": "1", "log_output": "'TABLE'", "general_log": "ON"})
	defer restore()

	results := make([]string, 2)
	var wg sync.WaitGroup
	for i := range results {
		job, err := json.Marshal(writersJob{cfg, uint64(i), 8, length})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWritersOfTheSameSeries$", "-test.v")
			cmd.Env = append(os.Environ(), writersEnv+"="+string(job))
			out, err := cmd.CombinedOutput()
			results[i] = string(out)
			if err != nil {
				t.Errorf("process %d: %v\n%s", i, err, out)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}

	// What each process says it has written last, a line a series.
	newest := map[string]int64{}
	batches := 0
	for _, out := range results {
		for line := range strings.Lines(out) {
			var key string
			var ts int64
			var n int
			if _, err := fmt.Sscanf(line, "wrote %s %d", &key, &ts); err == nil {
				newest[key] = max(newest[key], ts)
			} else if _, err := fmt.Sscanf(line, "batches %d", &n); err == nil {
				batches += n
			}
		}
	}
	if batches == 0 || len(newest) == 0 {
		t.Fatalf("the writers wrote nothing:\n%s", results[0])
	}
	testkit.Outcome(t, "%d batches of %d series", batches, len(newest))

	byID := map[int64]string{}
	endpointTs := map[string]int64{}
	var endpoints []Endpoint
	if err := db.Graph.read.Select(&endpoints, "SELECT "+endpointColumns+" FROM endpoint"); err != nil {
		t.Fatal(err)
	}
	for _, e := range endpoints {
		byID[e.ID], endpointTs[e.Endpoint] = e.Endpoint, e.Ts
	}
	var ids []int64
	for id := range byID {
		ids = append(ids, id)
	}
	rows := must[[]EndpointCounter](t)(db.CountersByEndpointIDs(t.Context(), ids))
	if len(rows) != len(newest) || len(rows) != count(t, db.Graph, "endpoint_counter") {
		t.Errorf("%d counters (%d below known endpoints), want %d", count(t, db.Graph, "endpoint_counter"), len(rows), len(newest))
	}
	for _, r := range rows {
		key := byID[r.EndpointID] + "|" + r.Counter
		want := newest[key]
		// Step and type belong to the time, so a row mixed of two writes shows.
		if r.Ts != want || r.Step != stepAt(want) || r.Type != typeAt(want) {
			t.Errorf("%s is @%d step %d %s, want @%d step %d %s", key, r.Ts, r.Step, r.Type, want, stepAt(want), typeAt(want))
		}
		if endpointTs[byID[r.EndpointID]] < want {
			t.Errorf("endpoint %s @%d is older than its series %s @%d", byID[r.EndpointID], endpointTs[byID[r.EndpointID]], key, want)
		}
	}
	if n := count(t, db.Graph, "tag_endpoint"); n != len(newest) { // one tag a counter
		t.Errorf("%d tags, want %d", n, len(newest))
	}

	restore()
	mine := "mysql.general_log WHERE argument LIKE CONCAT('%', ?, '%') AND argument NOT LIKE '%general_log%'"
	if n := count(t, db.Graph, mine, "INSERT INTO endpoint_counter"); n == 0 {
		t.Error("the general log has none of the writers' statements")
	}
	for _, banned := range []string{"ON DUPLICATE", "REPLACE INTO", "INSERT IGNORE"} {
		if n := count(t, db.Graph, mine, banned); n != 0 {
			t.Errorf("%d statements use %s", n, banned)
		}
	}
}

func stepAt(ts int64) int    { return 10 + int(ts%7)*10 }
func typeAt(ts int64) string { return []string{"GAUGE", "DERIVE"}[ts%2] }

// runWriters is the other process.
func runWriters(t *testing.T, text string) {
	var job writersJob
	if err := json.Unmarshal([]byte(text), &job); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), job.For)
	defer cancel()
	db := must[*DB](t)(Open(ctx, job.Config, nil))
	defer db.Close()

	var mu sync.Mutex
	wrote := map[string]int64{}
	batches := 0
	var wg sync.WaitGroup
	cache := NewEndpointCache(collideEndpoints / 2) // shared, and too small
	for w := range job.Writers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(job.Seed, uint64(w)))
			for n := 0; ctx.Err() == nil; n++ {
				var rows []IndexRow
				for range 1 + r.IntN(60) {
					// Times are unique in the whole test but for luck, and
					// new series keep coming: more of them the longer it runs.
					ts := collideStart + int64(n)*1000 + int64(r.IntN(1000))
					c := r.IntN(collideCounters * (1 + n/20))
					tag := fmt.Sprintf("c=%d", c)
					rows = append(rows, IndexRow{fmt.Sprintf("host-%d", r.IntN(collideEndpoints)), "m/" + tag, tag, stepAt(ts), typeAt(ts), ts})
				}
				// The last batch is finished, not cut off.
				refused, err := db.IndexWrite(context.WithoutCancel(ctx), cache, rows)
				if err != nil || len(refused) > 0 {
					t.Errorf("writer %d, batch %d: refused %v, err %v", w, n, refused, err)
					return
				}
				mu.Lock()
				batches++
				for _, row := range rows {
					key := row.Endpoint + "|" + row.Counter
					wrote[key] = max(wrote[key], row.Ts)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for key, ts := range wrote {
		fmt.Printf("wrote %s %d\n", key, ts)
	}
	fmt.Printf("batches %d\n", batches)
}

// setGlobals changes variables of the server and returns the way back.
func setGlobals(t *testing.T, h *Handle, values map[string]string) (restore func()) {
	old := map[string]string{}
	for name, value := range values {
		var was string
		if err := h.read.Get(&was, "SELECT @@GLOBAL."+name); err != nil {
			t.Fatal(err)
		}
		old[name] = was
		if _, err := h.write.Exec("SET GLOBAL " + name + " = " + value); err != nil {
			t.Skipf("the server of FALCON_TEST_MYSQL does not let this test set %s: %v", name, err)
		}
	}
	var once sync.Once
	return func() {
		once.Do(func() {
			for name, was := range old {
				if _, err := h.write.Exec("SET GLOBAL "+name+" = ?", was); err != nil {
					if _, err := h.write.Exec("SET GLOBAL " + name + " = " + was); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
}
