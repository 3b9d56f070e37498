package rulebook

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/cespare/xxhash/v2"

	"falcon/common/model"
)

func strategy(id, leaf int, metric string, right float64) *model.Strategy {
	return &model.Strategy{
		Id: id, Metric: metric, Tags: map[string]string{"mount": "/", "^fstype": "tmpfs"}, Func: "all(#3)", Operator: "<", RightValue: right,
		MaxStep: 3, Priority: 1, Note: "磁盘", Tpl: &model.Template{Id: leaf, Name: fmt.Sprint("tpl", leaf), ParentId: 1, ActionId: 9, Creator: "root"},
	}
}

func small() *Book {
	b := New()
	s12, s7 := strategy(12, 7, "df.bytes.free.percent", 5), strategy(7, 7, "load.1min", 8.5)
	b.Add("h2", []*model.Strategy{s12, s7})
	b.Add("h1", []*model.Strategy{s7, s12, s7})
	b.Add("h3", []*model.Strategy{s7})
	b.Add("none", nil)
	b.Expressions = []*model.Expression{{Id: 3, Metric: "qps", Tags: map[string]string{"srv": "falcon"}, Func: "avg(#2)", Operator: ">=", RightValue: 100, MaxStep: 3, ActionId: 11}}
	b.Disabled, b.Paused = []string{"h4"}, []int{5}
	return b
}

func TestHostsShareSets(t *testing.T) {
	b := small()
	if b.Hosts["h1"] != b.Hosts["h2"] || b.Hosts["h1"] == b.Hosts["h3"] || len(b.Sets) != 2 || len(b.Hosts) != 3 {
		t.Errorf("hosts %v, sets %v", b.Hosts, b.Sets)
	}
	if got := b.Of("h1"); len(got) != 2 || got[0].Id != 7 || got[1].Id != 12 {
		t.Errorf("strategies of h1: %v", got)
	}
	if got := b.Of("nobody"); len(got) != 0 {
		t.Errorf("strategies of nobody: %v", got)
	}
	// Pairs of little-endian 32-bit numbers: 7,7,12,7.
	if id := SetID([]Key{{7, 7}, {12, 7}}); id != b.Hosts["h1"] || id != xxhash.Sum64([]byte("\x07\x00\x00\x00\x07\x00\x00\x00\x0c\x00\x00\x00\x07\x00\x00\x00")) {
		t.Errorf("set id %#x", id)
	}
}

// The version is a promise between daemons of different releases.
func TestGolden(t *testing.T) {
	b := small()
	if got := b.Version().String(); got != goldenVersion {
		t.Errorf("version %s, want %s", got, goldenVersion)
	}
	if got := hex.EncodeToString(b.appendTo(nil)); got != goldenBook {
		t.Errorf("canonical form\n%s\nwant\n%s", got, goldenBook)
	}
}

func TestRoundTrip(t *testing.T) {
	for name, b := range map[string]*Book{"empty": New(), "small": small(), "random": random(rand.New(rand.NewPCG(1, 2)), nil)} {
		got, err := Decode(b.Encode())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(got, b) {
			t.Errorf("%s: got %+v, want %+v", name, got, b)
		}
	}
}

func random(r *rand.Rand, from *Book) *Book {
	b := New()
	keep := func() bool { return from != nil && r.IntN(3) > 0 }
	pool := make([]*model.Strategy, 40)
	for i := range pool {
		pool[i] = strategy(i/2+1, i%2+1, "m"+fmt.Sprint(i%5), float64(r.IntN(4)))
		if from != nil && keep() {
			if s := from.Strategies[Key{pool[i].Id, pool[i].Tpl.Id}]; s != nil {
				pool[i] = s
			}
		}
	}
	for h := range 30 {
		host := fmt.Sprint("host", h)
		if keep() && len(from.Of(host)) > 0 {
			var of []*model.Strategy
			for _, s := range from.Of(host) {
				of = append(of, pool[(s.Id-1)*2+s.Tpl.Id-1])
			}
			b.Add(host, of)
			continue
		}
		var some []*model.Strategy
		for _, s := range pool {
			if r.IntN(8) == 0 {
				some = append(some, s)
			}
		}
		b.Add(host, some)
	}
	if r.IntN(2) == 0 {
		b.Expressions = []*model.Expression{{Id: r.IntN(3) + 1, Metric: "x", Tags: map[string]string{}, Func: "all(#1)", Operator: ">"}}
	}
	for i := range 5 {
		if r.IntN(3) == 0 {
			b.Disabled, b.Paused = append(b.Disabled, fmt.Sprint("host", i)), append(b.Paused, i)
		}
	}
	return b
}

// A chain of books, each made of the one before by its delta, through bytes.
func TestDeltaLeadsThere(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	have := New()
	for i := range 200 {
		want := random(r, have)
		d, err := DecodeDelta(Diff(have, want).Encode())
		if err != nil {
			t.Fatal(err)
		}
		got, err := have.Apply(d)
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("step %d: got %+v, want %+v", i, got, want)
		}
		have = got
	}
}

func TestDeltaOfAnotherBook(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	a, b := random(r, nil), random(r, nil)
	if _, err := small().Apply(Diff(a, b)); !errors.Is(err, ErrMismatch) {
		t.Errorf("error %v, want a mismatch", err)
	}
}

func TestDamage(t *testing.T) {
	for name, raw := range map[string][]byte{
		"no book":          Pack([]byte("hello")),
		"newer format":     Pack([]byte{0x97, 2}),
		"a lie of a list":  Pack([]byte{0x97, 1, 0xdd, 0xff, 0xff, 0xff, 0xff}),
		"an unknown set":   Pack([]byte{0x97, 1, 0x90, 0x90, 0x92, 0xa1, 'h', 9, 0x90, 0x90, 0x90}),
		"unknown strategy": Pack([]byte{0x97, 1, 0x90, 0x91, 0x92, 1, 1, 0x90, 0x90, 0x90, 0x90}),
		"not compressed":   {1, 2, 3},
	} {
		if b, err := Decode(raw); err == nil {
			t.Errorf("%s: %+v", name, b)
		} else {
			t.Logf("%s: %v", name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(small().appendTo(nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := decode(raw)
		if err != nil {
			return
		}
		if again, err := decode(b.appendTo(nil)); err != nil || again.Version() != b.Version() {
			t.Errorf("a book that was read does not come back: %v", err)
		}
	})
}

func FuzzDecodeDelta(f *testing.F) {
	f.Add(Diff(New(), small()).Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if d, err := DecodeDelta(data); err == nil {
			_, _ = small().Apply(d)
		}
	})
}
