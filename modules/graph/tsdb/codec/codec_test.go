package codec

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func same(a, b []float64) bool {
	for i := range a {
		if math.Float64bits(a[i]) != math.Float64bits(b[i]) {
			return false
		}
	}
	return len(a) == len(b)
}

func roundTrip(t testing.TB, v []float64, step int) []byte {
	t.Helper()
	var e Encoder
	b := e.Append([]byte{7}, v, step)[1:]
	out := make([]float64, len(v))
	rest, err := Decode(append(b[:len(b):len(b)], 1, 2), out, step)
	if err != nil || len(rest) != 2 || !same(v, out) {
		t.Fatalf("Decode(Append(%v, step %d))\n got %v, rest %d, err %v", v, step, out, len(rest), err)
	}
	return b
}

func TestColumnKeepsEveryBit(t *testing.T) {
	huge := math.Inf(1)
	for _, v := range [][]float64{
		{0}, {1, 1, 1}, {0, math.Copysign(0, -1)}, {math.Copysign(0, -1)},
		{1.5, 2.25}, {0.1, 0.2, 0.3}, {math.Pi, -math.E, 1e300, -1e-300},
		{huge, -huge, 0}, {math.MaxFloat64, -math.MaxFloat64}, {1 << 52, 1<<52 + 1, 1 << 53},
		{5e-324, -5e-324}, {1.0 / 60, 2.0 / 60, 7.0 / 120}, {1e15 + .5, 2}, {math.NaN(), 1},
	} {
		roundTrip(t, v, 60)
	}
}

func TestColumnRoundTripsRandomShapes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		n := 1 + r.IntN(70)
		if r.IntN(50) == 0 {
			n = 1 + r.IntN(1500)
		}
		step := []int{1, 7, 10, 60, 300, 3600, 86400}[r.IntN(7)]
		v := make([]float64, n)
		shape := r.IntN(7)
		x := float64(r.IntN(1 << 30))
		for i := range v {
			switch shape {
			case 0:
				v[i] = math.Float64frombits(r.Uint64())
			case 1:
				v[i] = float64(r.Int64N(1<<40)) / float64(step)
			case 2:
				x += float64(r.IntN(1000))
				v[i] = x
			case 3:
				v[i] = math.Round(r.NormFloat64()*1e4) / 100
			case 4:
				if r.IntN(3) == 0 {
					x--
				}
				v[i] = x
			case 5:
				v[i] = r.NormFloat64()
			case 6:
				v[i] = float64(r.IntN(3)) / float64(2*step)
			}
		}
		roundTrip(t, v, step)
	}
}

// The sizes that the choice of modes is there for.
func TestColumnSize(t *testing.T) {
	count := func(n int, f func(i int) float64) []float64 {
		v := make([]float64, n)
		for i := range v {
			v[i] = f(i)
		}
		return v
	}
	for _, tc := range []struct {
		name string
		v    []float64
		max  int
	}{
		{"constant integer", count(60, func(int) float64 { return 1 }), 2},
		{"constant fraction", count(60, func(int) float64 { return math.Pi }), 9},
		{"even counter, mode 2", count(60, func(i int) float64 { return 1e9 + 6000*float64(i) }), 16},
		{"counter with noise, mode 2", count(60, func(i int) float64 { return 1e9 + 6000*float64(i) + float64(i*7%13) }), 48},
		{"rates n/step", count(60, func(i int) float64 { return float64(i*37%64) / 60 }), 52},
		{"rare change, mode 3", count(60, func(i int) float64 { return float64(1 << 40 * (i / 25)) }), 40},
	} {
		if b := roundTrip(t, tc.v, 60); len(b) > tc.max {
			t.Errorf("%s: %d bytes, want at most %d", tc.name, len(b), tc.max)
		}
	}
}

func TestChunkRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	nan := math.NaN()
	var e Encoder
	var d Decoder
	for range 5000 {
		slots := make([]float64, []int{1, 2, 7, 8, 60, 61, 360, 3600}[r.IntN(8)])
		fill := r.IntN(4)
		for i := range slots {
			slots[i] = float64(r.IntN(1e6))
			if fill > 0 && r.IntN(fill+1) > 0 {
				slots[i] = nan
			}
		}
		slots[r.IntN(len(slots))] = 5
		var prev Prev
		if r.IntN(2) == 0 {
			prev = Prev{1 + r.Uint32N(1e9), float64(r.IntN(1e6))}
		}
		b := e.AppendChunk(nil, slots, prev, 60)
		got := make([]float64, len(slots))
		p, err := d.Chunk(b, got, 60)
		if err != nil || p != prev {
			t.Fatalf("Chunk: prev %v, err %v, want prev %v", p, err, prev)
		}
		for i := range slots {
			if slots[i] != got[i] && (slots[i] == slots[i] || got[i] == got[i]) {
				t.Fatalf("slot %d: got %v, want %v", i, got[i], slots[i])
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	var e Encoder
	f.Add(e.Append(nil, []float64{1, 2, 3, 4.5, math.Pi}, 60), 5, 60)
	f.Add([]byte{kindFloat, 63, 0xff, 0xff}, 40, 1)
	f.Add([]byte{0, 0xC0 | 62, 0xff, 0xff, 0xff, 0xff}, 32, 1)
	f.Fuzz(func(t *testing.T, b []byte, n, step int) {
		out := make([]float64, min(max(n, 0), 4096))
		_, _ = Decode(b, out, step)
		var d Decoder
		if _, err := d.Chunk(b, out, step); err == nil {
			for i, v := range out { // a NaN that was packed counts as a value
				if has, err := HasSlot(b, i, len(out)); err != nil || v == v && !has {
					t.Fatalf("slot %d of %d holds %v; HasSlot = %v, %v", i, len(out), v, has, err)
				}
			}
		}
		for _, i := range []int{-1, 0, len(out) - 1, len(out)} {
			_, _ = HasSlot(b, i, len(out))
		}
	})
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("12345678abcdefgh"), 60)
	f.Fuzz(func(t *testing.T, b []byte, step int) {
		v := make([]float64, len(b)/8)
		for i := range v {
			v[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
		}
		roundTrip(t, v, step)
	})
}

func BenchmarkCodec(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	shapes := map[string]func(x float64) float64{
		"constant": func(x float64) float64 { return 7 },
		"counter":  func(x float64) float64 { return x + float64(r.IntN(100000)) },
		"decimal":  func(x float64) float64 { return math.Round(r.Float64()*800) / 100 },
		"float":    func(x float64) float64 { return r.Float64() },
	}
	for _, name := range []string{"constant", "counter", "decimal", "float"} {
		v := make([]float64, 60)
		x := 0.0
		for i := range v {
			x = shapes[name](x)
			v[i] = x
		}
		var e Encoder
		buf := e.Append(nil, v, 60)
		out := make([]float64, 60)
		for _, op := range []string{"encode", "decode"} {
			b.Run(fmt.Sprintf("%s/%s", op, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if op == "encode" {
						buf = e.Append(buf[:0], v, 60)
					} else {
						_, _ = Decode(buf, out, 60)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/60, "ns/pt")
				b.ReportMetric(float64(len(buf))/60, "B/pt")
			})
		}
	}
}
