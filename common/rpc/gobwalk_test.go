package rpc

import (
	"bytes"
	"encoding/gob"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"falcon/common/model"
)

type gobInner struct {
	Names map[string]string
	Next  *gobInner
}

type gobAll struct {
	B     bool
	I     int64
	U     uint8
	F     float32
	C     complex128
	S     string
	Raw   []byte
	Arr   [3]int
	Many  []gobInner
	Deep  map[int][]map[string]float64
	At    time.Time // encodes itself
	Any   any
	None  any
	Empty struct{}
	Ptr   *float64
}

// What gob writes passes, whatever it is of, and comes out as it was.
func TestGobPasses(t *testing.T) {
	f := -1.5
	all := gobAll{
		B: true, I: -1 << 60, U: 255, F: 3.25, C: complex(1, -2), S: strings.Repeat("x", 300), Raw: []byte{0, 1, 2}, Arr: [3]int{0, 7, 0},
		Many: []gobInner{{}, {Names: map[string]string{"": "", "k": "v"}, Next: &gobInner{Names: map[string]string{"a": "b"}}}},
		Deep: map[int][]map[string]float64{-3: {{"x": 1}, {}}, 0: nil}, At: time.Unix(1_700_000_000, 5), Any: "text", Ptr: &f,
	}
	values := []any{
		all, gobAll{}, []gobAll{all, {}, all}, map[string]string{"a": "b"}, map[string]string{}, "text", 7, struct{}{}, []string{}, time.Unix(1, 0), [2]map[string]int{{"a": 1}, {}},
		[]*model.GraphItem{{Endpoint: "h", Tags: map[string]string{"a": "b"}}}, []*model.JudgeItem{{Endpoint: "h", Tags: map[string]string{}}}, model.Event{PushedTags: map[string]string{"k": "v"}},
	}
	var wire bytes.Buffer
	enc := gob.NewEncoder(&wire)
	for range 2 {
		for _, v := range values {
			if err := enc.Encode(v); err != nil {
				t.Fatal(err)
			}
		}
	}
	dec := gob.NewDecoder(&gobReader{in: newInbuf(&wire, 1<<20)})
	for range 2 {
		for _, v := range values {
			got := reflect.New(reflect.TypeOf(v))
			if err := dec.Decode(got.Interface()); err != nil {
				t.Fatalf("%T: %v", v, err)
			}
			var want bytes.Buffer // an empty map of a field and none are the same on the wire
			var have bytes.Buffer
			if gob.NewEncoder(&want).Encode(v) != nil || gob.NewEncoder(&have).Encode(got.Elem().Interface()) != nil || want.Len() != have.Len() {
				t.Errorf("%T: %+v became %+v", v, v, got.Elem())
			}
		}
	}
}

// A map that claims more entries than its message has bytes for is refused before anybody
// makes room for it, wherever it lies.
func TestGobMapsAreNoLargerThanTheirMessages(t *testing.T) {
	for name, v := range map[string]any{
		"alone": map[string]string{"key": "value"}, "in a struct": gobInner{Names: map[string]string{"key": "value"}},
		"in slices": []gobInner{{}, {Next: &gobInner{Names: map[string]string{"key": "value"}}}}, "of maps": map[string]map[string]string{"o": {"key": "value"}},
	} {
		var wire bytes.Buffer
		if err := gob.NewEncoder(&wire).Encode(v); err != nil {
			t.Fatal(err)
		}
		at := bytes.LastIndex(wire.Bytes(), []byte("\x01\x03key\x05value")) // one entry
		start := at
		for sum := 0; ; start-- { // the message's length stands where it says what is left
			if start < 0 {
				t.Fatalf("%s: no length in %q", name, wire.Bytes())
			}
			if sum = wire.Len() - start - 1; int(wire.Bytes()[start]) == sum && sum < 0x80 {
				break
			}
		}
		for _, n := range []string{"\x7f", "\xfc\x7f\xff\xff\xff", "\xf8\x7f\xff\xff\xff\xff\xff\xff\xff"} {
			var b bytes.Buffer
			b.Write(wire.Bytes()[:start])
			b.WriteByte(byte(wire.Len() - start - 1 + len(n) - 1))
			b.Write(wire.Bytes()[start+1 : at])
			b.WriteString(n)
			b.Write(wire.Bytes()[at+1:])
			got := reflect.New(reflect.TypeOf(v))
			err := gob.NewDecoder(&gobReader{in: newInbuf(&b, 1<<20)}).Decode(got.Interface())
			if err == nil || !strings.Contains(err.Error(), "a gob value that is not of its type") {
				t.Errorf("%s, %q entries: %v", name, n, err)
			}
		}
	}
	var wire bytes.Buffer
	if err := gob.NewEncoder(&wire).Encode(gobAll{Any: []int{1}}); err != nil {
		t.Fatal(err)
	}
	if err := gob.NewDecoder(&gobReader{in: newInbuf(&wire, 1<<20)}).Decode(&gobAll{}); err == nil || !strings.Contains(err.Error(), "not of its type") {
		t.Errorf("a type in the middle of a value: %v", err)
	}
	if err := (&gobWalker{}).check([]byte{2, 0}); err == nil || errors.Is(err, ErrTooLarge) {
		t.Errorf("a type that nobody has described: %v", err)
	}
}

// What a decoder would take for something else than the walker is refused: a type that is two
// kinds at once, one that is described again, one of gob's own, and a value of an interface
// whose length is not its own.
func TestGobIsReadInOneWay(t *testing.T) {
	const (
		aMap  = "\xff\x81\x04\x02\x0c\x01\x0c\x00\x00"                 // 65 is a map of strings by strings
		both  = "\xff\x81\x02\x02\x0c\x00\x02\x02\x0c\x01\x0c\x00\x00" // and a slice of strings
		own   = "\x03\x04\x02\x0c\x01\x0c\x00\x00"                     // 2 is one
		anAny = "\xff\x83\x03\x02\x01\x02\x10\x00\x00\x00"             // 66 is a struct of an interface
	)
	w := &gobWalker{}
	for _, d := range []struct {
		name, message string
		good          bool
	}{{"two kinds", both, false}, {"a map", aMap, true}, {"it again", aMap, false}, {"an int", own, false}, {"an interface", anAny, true}} {
		if err := w.describe([]byte(d.message)); (err == nil) != d.good {
			t.Errorf("%s: %v", d.name, err)
		}
	}
	for _, v := range []struct {
		name, message string
		good          bool
	}{
		{"a map", "\xff\x82\x00\x01\x01k\x01v", true},
		{"a map of two with one", "\xff\x82\x00\x02\x01k\x01v", false},
		{"an int in an interface", "\xff\x84\x01\x03int\x04\x02\x00\x0e\x00", true},
		{"nil", "\xff\x84\x01\x00\x00", true},
		{"longer than it is", "\xff\x84\x01\x03int\x04\x03\x00\x0e\x00", false},
		{"shorter", "\xff\x84\x01\x03int\x04\x01\x00\x0e\x00", false},
		{"more behind it", "\xff\x84\x01\x00\x00\x00", false},
	} {
		if err := w.check([]byte(v.message)); (err == nil) != v.good {
			t.Errorf("%s: %v", v.name, err)
		}
	}
}
