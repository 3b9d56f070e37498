package record

import (
	"bytes"
	"math"
	"testing"
)

func put(s *Series) []byte { return End(AppendSeries(Begin(nil, Put), s), 0) }

func TestSeriesRoundTrip(t *testing.T) {
	nan := math.NaN()
	for _, s := range []Series{
		{Shard: 3, ID: 7, Type: 1, Current: true, Born: 1, BornWin: 2, Since: 3, Step: 60, Heartbeat: 120, Min: nan, Max: nan, Endpoint: []byte("host"), Counter: []byte("cpu.idle")},
		{Step: 1, Min: 0, Max: nan, Endpoint: []byte("h"), Counter: []byte("c/k=v")},
		{Step: 1, Min: nan, Max: -5.5},
	} {
		var got Series
		typ, p, ok := NewScanner(put(&s), 0).Next()
		if !ok || typ != Put {
			t.Fatalf("no record")
		}
		if err := ParseSeries(p, &got); err != nil {
			t.Fatal(err)
		}
		eq := func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) || a != a && b != b }
		if string(got.Endpoint) != string(s.Endpoint) || string(got.Counter) != string(s.Counter) || !eq(got.Min, s.Min) || !eq(got.Max, s.Max) ||
			got.Shard != s.Shard || got.ID != s.ID || got.Current != s.Current || got.Since != s.Since || got.Step != s.Step || got.Heartbeat != s.Heartbeat {
			t.Errorf("ParseSeries\n got %+v\nwant %+v", got, s)
		}
	}
}

func TestScannerSkipsDamageAndStopsAtATornTail(t *testing.T) {
	one := End(append(Begin(nil, Del), "12345"...), 0)
	three := bytes.Repeat(one, 3)
	count := func(b []byte) (n, bad, tail int) {
		s := NewScanner(b, 0)
		for {
			if _, _, ok := s.Next(); !ok {
				return n, s.Bad, s.Tail()
			}
			n++
		}
	}
	for cut := range len(one) {
		if n, bad, tail := count(three[:2*len(one)+cut]); n != 2 || bad != 0 || tail != cut {
			t.Errorf("cut after %d bytes: %d records, %d bad, tail %d; want 2, 0, %d", cut, n, bad, tail, cut)
		}
	}
	damaged := bytes.Clone(three)
	damaged[len(one)+10] ^= 4
	if n, bad, tail := count(damaged); n != 2 || bad != 1 || tail != 0 {
		t.Errorf("flipped bit in the middle: %d records, %d bad, tail %d; want 2, 1, 0", n, bad, tail)
	}
}

func FuzzScanner(f *testing.F) {
	f.Add(put(&Series{Step: 60, Endpoint: []byte("h"), Counter: []byte("c")}))
	f.Add(End(append(Begin(nil, Points), group(1, 0, []point{{1, 60, 2}})...), 0))
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		s := NewScanner(b, 0)
		for {
			_, p, ok := s.Next()
			if !ok {
				break
			}
			for len(p) > 0 {
				_, rest, err := NextGroup(p)
				if err != nil {
					break
				}
				p = rest
			}
		}
		var x Series
		_ = ParseSeries(b, &x)
		_, _, _ = ParseDel(b)
		_, _, _, _ = ParseCurrent(b)
	})
}
