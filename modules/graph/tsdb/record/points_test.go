package record

import (
	"math"
	"slices"
	"testing"
)

type point struct {
	id, ts uint32
	v      float64
}

// group writes one group with room for spare more points than there are.
func group(shard uint8, spare int, points []point) []byte {
	b, w := BeginGroup(nil, shard, len(points)+spare)
	for _, p := range points {
		w.Add(b, p.id, p.ts, p.v)
	}
	return w.End(b)
}

func decode(t *testing.T, b []byte) []point {
	t.Helper()
	g, rest, err := NextGroup(b)
	if err != nil || len(rest) > 0 {
		t.Fatalf("NextGroup = %v, %d bytes left", err, len(rest))
	}
	var batch Batch
	if err := batch.Decode(&g); err != nil {
		t.Fatal(err)
	}
	var out []point
	for i, id := range batch.IDs {
		out = append(out, point{id, batch.Times[i], batch.Values[i]})
	}
	return out
}

func same(a, b point) bool {
	return a.id == b.id && a.ts == b.ts && math.Float64bits(a.v) == math.Float64bits(b.v)
}

func TestGroupsKeepEveryBit(t *testing.T) {
	host := func(id uint32, n int) (out []point) {
		for i := range n {
			out = append(out, point{id + uint32(i), 1700000000, float64(i)})
		}
		return out
	}
	for _, tc := range []struct {
		name   string
		points []point
		bytes  int // with the header of 7
	}{
		{"one", []point{{0, 60, 0}}, 7 + 3 + 1},
		{"a host is one run", host(5, 250), 7 + 7 + 1 + 249*2 + 122},
		{"a run ends at 255", host(0, 256), 7 + 7 + 1 + 255*2 + 128 + 3},
		{"ids go back", []point{{9, 60, 1}, {3, 60, 2}, {4, 60, 3}}, 7 + 2*3 + 3*2},
		{"a late point", []point{{1, 120, 1}, {2, 60, 2}}, 7 + 4 + 3 + 2*2},
		{"far", []point{{math.MaxUint32, math.MaxUint32, 1}, {0, 0, 1}, {1 << 31, 1 << 31, 1}}, 7 + 3 + 3 + 11 + 3*2},
		{"decimals", []point{{0, 0, 12.34}, {1, 0, -0.01}, {2, 0, 0.125}, {3, 0, 99.999}}, 7 + 3 + 3 + 2 + 2 + 4},
		{"floats", []point{{0, 0, 1. / 3}, {1, 0, math.Pi * 1e300}, {2, 0, math.SmallestNonzeroFloat64}, {3, 0, 1.0 / 1024}}, 7 + 3 + 3*9 + 3},
		{"edges", []point{{0, 0, math.Copysign(0, -1)}, {1, 0, math.Inf(-1)}, {2, 0, 1<<52 - 1}, {3, 0, 1 << 52}, {4, 0, -1 << 63}, {5, 0, math.MaxFloat64}}, 7 + 3 + 2 + 3 + 8 + 3 + 3 + 9},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, spare := range []int{0, 3} {
				b := group(7, spare, tc.points)
				if got := decode(t, b); !slices.EqualFunc(got, tc.points, same) {
					t.Errorf("Decode\n got %v\nwant %v", got, tc.points)
				}
				if len(b) != tc.bytes {
					t.Errorf("%d bytes, want %d", len(b), tc.bytes)
				}
			}
		})
	}
}

func TestEmptyGroupsDisappear(t *testing.T) {
	b := Begin(nil, Points)
	for shard := range uint8(3) {
		var w GroupWriter
		b, w = BeginGroup(b, shard, 5)
		for i := range 2 * uint32(shard) {
			w.Add(b, i, 1000+i, float64(i)/2)
		}
		b = w.End(b)
	}
	_, p, ok := NewScanner(End(b, 0), 0).Next()
	if !ok {
		t.Fatal("no record")
	}
	for shard := uint8(1); shard < 3; shard++ {
		g, rest, err := NextGroup(p)
		if err != nil || g.Shard != shard || g.N != 2*int(shard) {
			t.Fatalf("NextGroup = %+v, %v, want shard %d", g, err, shard)
		}
		p = rest
	}
	if len(p) != 0 {
		t.Errorf("%d bytes left", len(p))
	}
}

// Every way to cut a group short, and a count or a tag that lies, is an error.
func TestBrokenGroupsAreRefused(t *testing.T) {
	whole := group(1, 0, []point{{4, 600, 1}, {5, 600, 12.5}, {900, 540, 1. / 3}})
	for n := range len(whole) {
		if _, _, err := NextGroup(whole[:n]); err == nil {
			t.Errorf("NextGroup of the first %d of %d bytes succeeds", n, len(whole))
		}
	}
	runs := whole[groupHeader:]
	var batch Batch
	for n := range len(runs) {
		if err := batch.Decode(&Group{N: 3, runs: runs[:n]}); err == nil {
			t.Errorf("Decode of the first %d of %d bytes succeeds", n, len(runs))
		}
	}
	for name, g := range map[string]Group{
		"fewer points than said": {N: 4, runs: runs},
		"more points than said":  {N: 2, runs: runs},
		"an empty run":           {N: 1, runs: []byte{0, 0, 0, 0}},
		"an unknown tag":         {N: 1, runs: []byte{0, 0, 1, 0x40}},
		"a value of 9 bytes":     {N: 1, runs: []byte{0, 0, 1, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9}},
		"an id beyond 32 bits":   {N: 1, runs: []byte{0xff, 0xff, 0xff, 0xff, 0x1f, 0, 1, 0}},
	} {
		if err := batch.Decode(&g); err == nil {
			t.Errorf("Decode of %s succeeds: %v", name, batch)
		}
	}
}

func FuzzGroup(f *testing.F) {
	f.Add(group(3, 0, []point{{4, 600, 1}, {5, 600, 12.34}, {9, 540, 1. / 3}}))
	f.Add([]byte{0, 1, 0, 4, 0, 0, 0, 0, 0, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		g, _, err := NextGroup(b)
		if err != nil {
			return
		}
		var batch Batch
		if batch.Decode(&g) != nil {
			return
		}
		// What decodes is written and read again without a change.
		var points []point
		for i, id := range batch.IDs {
			points = append(points, point{id, batch.Times[i], batch.Values[i]})
		}
		if len(points) == 0 {
			return
		}
		if got := decode(t, group(g.Shard, 0, points)); !slices.EqualFunc(got, points, same) {
			t.Fatalf("Decode\n got %v\nwant %v", got, points)
		}
	})
}
