package transfer

import (
	"log/slog"
	"path/filepath"
	"testing"

	"falcon/common/queue/spool"
)

// A node that moved gets what was spooled for its earlier address; a spool that
// could be anybody's stays.
func TestSpoolsFollowANodeThatMoved(t *testing.T) {
	for _, tc := range []struct {
		name    string
		folder  string
		cluster map[string]string
		want    int64 // held by the outlet of graph-00 after the start
	}{
		{"the same address", "graph-graph-00-10.0.0.1_6070", map[string]string{"graph-00": "10.0.0.1:6070"}, 7},
		{"another address", "graph-graph-00-10.0.0.1_6070", map[string]string{"graph-00": "10.0.0.2:6070"}, 7},
		{"two addresses now: which one has missed them?", "graph-graph-00-10.0.0.1_6070", map[string]string{"graph-00": "10.0.0.2:6070,10.0.0.3:6070"}, 0},
		{"another node", "graph-graph-01-10.0.0.1_6070", map[string]string{"graph-00": "10.0.0.2:6070"}, 0},
		{"a node whose name begins alike", "graph-graph-00-b-10.0.0.1_6070", map[string]string{"graph-00": "10.0.0.2:6070", "graph-00-b": "10.0.0.4:6070"}, 0},
		{"a judge", "judge-graph-00-10.0.0.1_6070", map[string]string{"graph-00": "10.0.0.2:6070"}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := testConfig(t, "")
			cfg.Graph.Cluster = tc.cluster
			old, err := spool.Open(spool.Options{Dir: filepath.Join(cfg.Spool.Dir, tc.folder)})
			if err != nil {
				t.Fatal(err)
			}
			if err := old.Append([]byte("points"), 7); err != nil {
				t.Fatal(err)
			}
			if err := old.Close(); err != nil {
				t.Fatal(err)
			}
			tr, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			if err := tr.openSpools(); err != nil {
				t.Fatal(err)
			}
			total := int64(0)
			for _, o := range tr.outlets {
				st := o.spool.Stats()
				total += st.Held
				if o.node == "graph-00" && st.Held != tc.want {
					t.Errorf("%s holds %d points, want %d", o.addr, st.Held, tc.want)
				}
				if err := o.spool.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if total < 7 { // nobody took it: it is where it was
				if n, err := spool.Held(filepath.Join(cfg.Spool.Dir, tc.folder)); n != 7 || err != nil {
					t.Errorf("the folder holds %d points, %v; want 7", n, err)
				}
			}
		})
	}
}
