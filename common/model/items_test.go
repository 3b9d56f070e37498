package model

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestCountItems(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want int
	}{
		{``, 0}, {`[]`, 0}, {` [ ] `, 0}, {`null`, 0}, {`7`, 0}, {`"a,b"`, 0}, {`{"a":[1,2]}`, 0},
		{`[{}]`, 1}, {`[null]`, 1}, {`[[]]`, 1}, {`[""]`, 1}, {`[1,2,3]`, 3},
		{`[{"a":"x,y","b":[1,2,{"c":3,"d":4}]},null]`, 2},
		{`["a\",\\",","]`, 2},
		{"[\n{} ,\t{}\r,{}]", 3},
		{`[` + strings.Repeat(`{},`, 999) + `{}]`, 1000},
	} {
		if got := CountItems([]byte(tc.in)); got != tc.want {
			t.Errorf("CountItems(%.40s) = %d, want %d", tc.in, got, tc.want)
		}
	}
}

// Whatever is a JSON array has as many items as encoding/json finds.
func FuzzCountItems(f *testing.F) {
	f.Add([]byte(`[{"a":"\"],["},[[]],{}]`))
	f.Add([]byte(`["\\",1]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var items []json.RawMessage
		got := CountItems(b)
		if err := json.Unmarshal(b, &items); err == nil && got != len(items) {
			t.Errorf("CountItems(%q) = %d, want %d", b, got, len(items))
		}
	})
}
