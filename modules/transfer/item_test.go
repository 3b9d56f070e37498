package transfer

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// read decodes b both ways and reports when they disagree. The value of a fast item
// is moved to Value, where the slow way leaves it.
func read(t *testing.T, b string) (items update, fast bool) {
	t.Helper()
	var slow []*item
	slowErr := json.Unmarshal([]byte(b), &slow)
	p := scanner{b: []byte(b)}
	items, fast = p.array()
	if fast {
		for _, it := range items {
			if it != nil && it.parsed {
				it.Value, it.num, it.parsed = it.num, 0, false
			}
		}
		if slowErr != nil || len(items) != len(slow) {
			t.Fatalf("%q: read as %d items, encoding/json says %d and %v", b, len(items), len(slow), slowErr)
		}
		for i := range items {
			if !reflect.DeepEqual(items[i], slow[i]) {
				t.Errorf("%q: item %d is %+v, encoding/json says %+v", b, i, items[i], slow[i])
			}
		}
	}
	return items, fast
}

func TestOrdinaryItemsAreReadFast(t *testing.T) {
	for _, tc := range []struct {
		in   string
		fast bool
	}{
		{`[]`, true},
		{` [ ] `, true},
		{`[null]`, true},
		{`[{}]`, true},
		{`[{"endpoint":"h","metric":"m","value":1.5,"step":60,"counterType":"GAUGE","tags":"a=b","timestamp":1500000000}]`, true},
		{`[ { "value" : -0 , "metric" : "主机" } , null ]`, true},
		{`[{"value":1e300,"step":-1,"timestamp":0}]`, true},
		{`[{"value":12345678901234567890}]`, true},
		{`[{"value":"1.5"}]`, false},
		{`[{"value":null}]`, false},
		{`[{"value":1e999}]`, false},
		{`[{"Endpoint":"h"}]`, false},
		{`[{"endpoint":"a\tb"}]`, false},
		{`[{"endpoint":"a\u0041"}]`, false},
		{"[{\"endpoint\":\"a\xff\"}]", false},
		{`[{"step":1.5}]`, false},
		{`[{"step":01}]`, false},
		{`[{"extra":1}]`, false},
		{`[{"value":1}`, false},
		{`[{"value":1},]`, false},
		{`[{"value":1}] x`, false},
		{`{"value":1}`, false},
		{``, false},
	} {
		if _, fast := read(t, tc.in); fast != tc.fast {
			t.Errorf("%q: fast %v, want %v", tc.in, fast, tc.fast)
		}
	}
}

func TestDecodeJSON(t *testing.T) {
	for _, tc := range []struct{ in, err string }{
		{`[{"endpoint":"h","value":"on","extra":[1,{}]}]`, ""},
		{`[{"Endpoint":"h"}]`, ""},
		{`[{"timestamp":1500000000.0}]`, "items can not be read, none was taken: timestamp: got a number 1500000000.0, want int64"},
		{`[{"endpoint":7}]`, "items can not be read, none was taken: endpoint: got a number, want string"},
		{`[`, "items can not be read, none was taken: unexpected end of JSON input"},
	} {
		var u update
		got := ""
		if err := u.DecodeJSON([]byte(tc.in)); err != nil {
			got = err.Error()
		}
		if got != tc.err {
			t.Errorf("DecodeJSON(%s)\n got %q\nwant %q", tc.in, got, tc.err)
		}
	}
}

// The buffer a caller passes is used again; the items must not notice.
func TestItemsOutliveTheBuffer(t *testing.T) {
	b := []byte(`[{"endpoint":"host-1"}]`)
	var u update
	if err := u.DecodeJSON(b); err != nil {
		t.Fatal(err)
	}
	clear(b)
	if u[0].Endpoint != "host-1" {
		t.Errorf("endpoint is %q after the buffer was cleared", u[0].Endpoint)
	}
}

// Memory that is used again carries nothing over from the batch before.
func TestReleasedMemoryIsEmpty(t *testing.T) {
	full := `[{"endpoint":"h","metric":"m","value":1.5,"step":60,"counterType":"GAUGE","tags":"a=b","timestamp":9},null,{"endpoint":"i","value":2}]`
	for round := range 200 {
		var u update
		if err := u.DecodeJSON([]byte(full)); err != nil || len(u) != 3 || u[0].Endpoint != "h" || u[1] != nil || u[2].num != 2 {
			t.Fatalf("round %d: %+v, %v", round, u, err)
		}
		u.release()
		if err := u.DecodeJSON([]byte(`[{},{}]`)); err != nil || len(u) != 2 {
			t.Fatalf("round %d: %+v, %v", round, u, err)
		}
		for i, it := range u {
			if got := *it; got.home == nil || got != (item{home: got.home}) {
				t.Fatalf("round %d: item %d is %+v, want an empty one", round, i, got)
			}
		}
		u.release()
		if err := u.DecodeJSON([]byte(`[{"endpoint":"h"},{"endpoint":1}]`)); err == nil {
			t.Fatal("a bad item was read")
		}
		u.release()
	}
}

func FuzzDecodeJSON(f *testing.F) {
	f.Add(`[{"endpoint":"h","metric":"m","value":1.5,"step":60,"counterType":"GAUGE","tags":"a=b","timestamp":1500000000},null]`)
	f.Add(`[{"value":-0.0e-5,"step":-0}]`)
	f.Fuzz(func(t *testing.T, s string) { read(t, s) })
}

func batchJSON(n int) []byte {
	var b strings.Builder
	b.WriteByte('[')
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"endpoint":"host-%05d","metric":"net.if.in.bytes","value":%d.25,"step":60,"counterType":"COUNTER","tags":"iface=eth0","timestamp":1500000000}`, i/100, i*977)
	}
	b.WriteByte(']')
	return []byte(b.String())
}

func BenchmarkDecodeJSON(b *testing.B) {
	in := batchJSON(1000)
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		var u update
		if err := u.DecodeJSON(in); err != nil || len(u) != 1000 {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/point")
}
