package ring

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"

	"falcon/common/model"
)

var three = []string{"graph-00", "graph-01", "graph-02"}

// The vectors of contract ingest 1.5 and query 0.2.
func TestNodeIsWhereStockAndForkPutIt(t *testing.T) {
	for _, tc := range []struct {
		pk          string
		crc, murmur string
		crcHash     uint32
		murmurHash  uint32
	}{
		{"host01/cpu.idle", "graph-00", "graph-02", 943645848, 2694907336},
		{"host01/agent.alive", "graph-00", "graph-01", 3247987930, 2118276328},
		{"host01/df.bytes.free.percent/fstype=ext4,mount=/", "graph-01", "graph-02", 270955171, 2468991332},
		{"host01/net.if.in.bytes/iface=eth0", "graph-02", "graph-01", 4096270619, 2559067213},
		{"host02/cpu.idle", "graph-00", "graph-02", 3540606875, 477798884},
		{"host02/load.1min", "graph-00", "graph-00", 3808543538, 2448651298},
		{"web-7/qps/module=judge,project=falcon", "graph-02", "graph-02", 1864060676, 2916790713},
		{"test-endpoint/test-metric/idc=lg,loc=beijing", "graph-00", "graph-00", 1387173905, 3661324328},
		{"host-a/cpu.idle", "graph-02", "graph-01", 0xe448eb1c, 0xd4aa3b12},
		{"host-a/df.bytes.free.percent/fstype=ext4,mount=/", "graph-00", "graph-01", 0xb8617ad6, 0x3e9b3212},
		{"10.0.0.1/agent.alive", "graph-00", "graph-02", 0x17147b1a, 0x4f3ac754},
		{"host-b/net.if.in.bytes/iface=eth0", "graph-02", "graph-01", 0x9cab43fe, 0x68e6f984},
		{"host-c/load.1min", "graph-00", "graph-00", 0xc8862dc4, 0x4c3c7600},
		{"web01.bj/qps/module=judge,project=falcon", "graph-01", "graph-02", 0x0295ae96, 0x5346102d},
		{"0graph-00", "", "", 1677954284, 908128902},
		{"499graph-02", "", "", 2809491381, 1066264832},
	} {
		for hash, want := range map[string]struct {
			node string
			hash uint32
		}{CRC32: {tc.crc, tc.crcHash}, Murmur3: {tc.murmur, tc.murmurHash}} {
			r, err := New(hash, 500, three)
			if err != nil {
				t.Fatal(err)
			}
			if got := r.hash(tc.pk); got != want.hash {
				t.Errorf("%s(%q) = %d, want %d", hash, tc.pk, got, want.hash)
			}
			if got := r.Node(tc.pk); want.node != "" && got != want.node {
				t.Errorf("%s ring: Node(%q) = %s, want %s", hash, tc.pk, got, want.node)
			}
		}
	}
}

func TestTwoJudges(t *testing.T) {
	r, err := New(Murmur3, 0, []string{"judge-01", "judge-00"})
	if err != nil {
		t.Fatal(err)
	}
	for pk, want := range map[string]string{
		"host01/cpu.idle": "judge-01", "host01/agent.alive": "judge-00",
		"host02/cpu.idle": "judge-00", "host02/load.1min": "judge-01",
	} {
		if got := r.Node(pk); got != want {
			t.Errorf("Node(%q) = %s, want %s", pk, got, want)
		}
	}
}

// Where a stock transfer really sent 1 599 series, captured with fake nodes.
func TestNodeIsWhereStockSentIt(t *testing.T) {
	for _, file := range []string{"testdata/ring-a.json", "testdata/ring-b.json"} {
		var table struct {
			Hash          string
			GraphNodes    []string `json:"graph_nodes"`
			GraphReplicas int      `json:"graph_replicas"`
			JudgeNodes    []string `json:"judge_nodes"`
			JudgeReplicas int      `json:"judge_replicas"`
			Rows          []struct {
				PK       string
				Endpoint string
				Metric   string
				Tags     string `json:"tags_as_pushed"`
				Graph    string
				Judge    string
			}
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &table); err != nil {
			t.Fatal(err)
		}
		graphs, err := New(table.Hash, table.GraphReplicas, table.GraphNodes)
		if err != nil {
			t.Fatal(err)
		}
		judges, err := New(table.Hash, table.JudgeReplicas, table.JudgeNodes)
		if err != nil {
			t.Fatal(err)
		}
		if len(table.Rows) < 500 {
			t.Fatalf("%s has only %d rows", file, len(table.Rows))
		}
		for _, row := range table.Rows {
			pk := model.PK(row.Endpoint, row.Metric, model.NormalTags(row.Tags))
			if pk != row.PK {
				t.Errorf("%s: PK of %+v is %q", file, row, pk)
			}
			if g, j := graphs.Node(pk), judges.Node(pk); g != row.Graph || j != row.Judge {
				t.Errorf("%s: %q goes to %s and %s, stock sent it to %s and %s", file, pk, g, j, row.Graph, row.Judge)
			}
		}
	}
}

// Taking a node out moves only the series it held.
func TestRemovingANodeMovesOnlyItsSeries(t *testing.T) {
	for _, hash := range []string{CRC32, Murmur3} {
		all, err := New(hash, 500, three)
		if err != nil {
			t.Fatal(err)
		}
		two, err := New(hash, 500, three[:2])
		if err != nil {
			t.Fatal(err)
		}
		moved := 0
		for i := range 20000 {
			pk := fmt.Sprintf("host-%05d/cpu.idle", i)
			before, after := all.Node(pk), two.Node(pk)
			if before != after {
				moved++
				if before != "graph-02" {
					t.Fatalf("%s: %q moved from %s to %s though %s is still there", hash, pk, before, after, before)
				}
			}
		}
		if moved == 0 {
			t.Errorf("%s: graph-02 held nothing of 20000 series", hash)
		}
	}
}

// The spread that query 0.2 gives for 100 000 hosts.
func TestSpread(t *testing.T) {
	for hash, want := range map[string][]int{CRC32: {29288, 34135, 36577}, Murmur3: {32054, 33777, 34169}} {
		r, err := New(hash, 500, three)
		if err != nil {
			t.Fatal(err)
		}
		n := map[string]int{}
		for i := range 100000 {
			n[r.Node(fmt.Sprintf("host-%05d/cpu.idle", i))]++
		}
		got := []int{n["graph-00"], n["graph-01"], n["graph-02"]}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s spreads %v, want %v", hash, got, want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, tc := range []struct {
		hash  string
		nodes []string
		err   string
	}{
		{"md5", three, `ringHash: "md5" is unknown, use "crc32" (stock) or "murmur3" (fork)`},
		{"", nil, "ring: cluster names no node"},
	} {
		if _, err := New(tc.hash, 500, tc.nodes); err == nil || err.Error() != tc.err {
			t.Errorf("New(%q, %v) = %v, want %s", tc.hash, tc.nodes, err, tc.err)
		}
	}
}

func TestFingerprint(t *testing.T) {
	a, _ := New("", 0, three)
	b, _ := New(CRC32, 500, []string{"graph-02", "graph-00", "graph-01"})
	c, _ := New(Murmur3, 500, three)
	if a.Fingerprint() != b.Fingerprint() || a.Fingerprint() == c.Fingerprint() || len(a.Fingerprint()) != 16 {
		t.Errorf("fingerprints %s, %s, %s: want the first two equal, the third another", a.Fingerprint(), b.Fingerprint(), c.Fingerprint())
	}
}

func BenchmarkNode(b *testing.B) {
	for _, hash := range []string{CRC32, Murmur3} {
		b.Run(hash, func(b *testing.B) {
			r, _ := New(hash, 500, three)
			b.ReportAllocs()
			for b.Loop() {
				r.Node("host01/df.bytes.free.percent/fstype=ext4,mount=/")
			}
		})
	}
}
