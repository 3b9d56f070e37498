package model

import (
	"encoding/json"
	"math"
	"testing"
)

func TestTags(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"none", "", ""},
		{"one", "mount=/", "mount=/"},
		{"sorted by key", "mount=/, fstype=ext4", "fstype=ext4,mount=/"},
		{"spaces go, tabs stay", "a = 1 ,b=\t2", "a=1,b=\t2"},
		{"no equals sign is dropped", "a,b=1,c", "b=1"},
		{"a value may hold an equals sign", "q=a=b", "q=a=b"},
		{"empty key and value", "=1,a=", "=1,a="},
		{"the last of a repeated key", "a=1,a=2", "a=2"},
		{"trailing comma", "a=1,", "a=1"},
		{"only a comma", ",", ""},
		{"byte order, not length order", "b=1,aa=2", "aa=2,b=1"},
		{"keys compare as keys, not as text", "a.b=1,a=2", "a=2,a.b=1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := SortedTags(ParseTags(tc.in)); got != tc.want {
				t.Errorf("SortedTags(ParseTags(%q)) = %q, want %q", tc.in, got, tc.want)
			}
			if got := NormalTags(tc.in); got != tc.want {
				t.Errorf("NormalTags(%q) = %q, want %q", tc.in, got, tc.want)
			}
		})
	}
}

func TestParseTagsStrict(t *testing.T) {
	for in, ok := range map[string]bool{"": true, "a=1": true, "a=1, b=2": true, "a": false, "a=1,": false} {
		if _, got := ParseTagsStrict(in); got != ok {
			t.Errorf("ParseTagsStrict(%q) says %v, want %v", in, got, ok)
		}
	}
}

// The shortcut of NormalTags must never differ from the long way.
func FuzzNormalTags(f *testing.F) {
	for _, s := range []string{"", "a=1", "b=1,a=2", "a=1,a=1", ",", "a", " ", "a=,b", "=,=", "a=1,,b=2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want := SortedTags(ParseTags(s))
		got := NormalTags(s)
		if got != want {
			t.Errorf("NormalTags(%q) = %q, want %q", s, got, want)
		}
		if again := NormalTags(got); again != got {
			t.Errorf("NormalTags(%q) = %q, not stable", got, again)
		}
	})
}

// The vectors of contract ingest 1.4.
func TestIdentity(t *testing.T) {
	for _, tc := range []struct{ name, got, want string }{
		{"PK without tags", PK("host01", "cpu.idle", ""), "host01/cpu.idle"},
		{"MD5 of it", Checksum("host01/cpu.idle"), "d2a3cf076e6613a23a3a010c6e6d647a"},
		{"UUID", UUID(PK("host01", "df.bytes.free.percent", "fstype=ext4,mount=/"), Gauge, 60),
			"host01/df.bytes.free.percent/fstype=ext4,mount=//GAUGE/60"},
		{"MD5 of it", Checksum("host01/df.bytes.free.percent/fstype=ext4,mount=//GAUGE/60"), "cf751498ef3c7ebf4b74184f5f8180d6"},
		{"counter", CounterOf("df.bytes.free", "fstype=ext4,mount=/"), "df.bytes.free/fstype=ext4,mount=/"},
		{"archive", RRDPath("./data/6070", "host01/cpu.idle", Gauge, 60),
			"./data/6070/d2/d2a3cf076e6613a23a3a010c6e6d647a_GAUGE_60.rrd"},
		{"stored type", StoredType(Counter), Derive},
	} {
		if tc.got != tc.want {
			t.Errorf("%s = %q, want %q", tc.name, tc.got, tc.want)
		}
	}
	if m, tags := SplitCounter("df.bytes.free/mount=/,x=1"); m != "df.bytes.free" || tags != "mount=/,x=1" {
		t.Errorf("SplitCounter gives %q and %q", m, tags)
	}
}

func TestParseValue(t *testing.T) {
	for _, tc := range []struct {
		in   any
		num  float64
		text string
		kind ValueKind
	}{
		{1.5, 1.5, "", ValueNumber},
		{int(7), 7, "", ValueNumber},
		{int64(-3), -3, "", ValueNumber},
		{uint64(1 << 63), 1 << 63, "", ValueNumber},
		{"12.5", 12.5, "", ValueNumber},
		{"1e3", 1000, "", ValueNumber},
		{[]byte("8"), 8, "", ValueNumber},
		{json.Number("0.5"), 0.5, "", ValueNumber},
		{"", 0, "", ValueEmpty},
		{"on fire", 0, "on fire", ValueText},
		{"NaN", 0, "", ValueBad},
		{"-Inf", 0, "", ValueBad},
		{"1e999", 0, "", ValueBad},
		{math.Inf(1), 0, "", ValueBad},
		{nil, 0, "", ValueBad},
		{true, 0, "", ValueBad},
		{map[string]any{}, 0, "", ValueBad},
	} {
		num, text, kind := ParseValue(tc.in)
		if num != tc.num || text != tc.text || kind != tc.kind {
			t.Errorf("ParseValue(%#v) = %v, %q, %d; want %v, %q, %d", tc.in, num, text, kind, tc.num, tc.text, tc.kind)
		}
	}
}

func TestJSONFloat(t *testing.T) {
	for in, want := range map[float64]string{
		1: "1", 0.1: "0.1", -2.5: "-2.5", 1e-7: "1e-07", 1e20: "100000000000000000000", 1e21: "1e+21",
		math.Inf(-1): "null", 0: "0",
	} {
		b, err := json.Marshal(JSONFloat(in))
		if err != nil || string(b) != want {
			t.Errorf("Marshal(%v) = %s, %v; want %s", in, b, err, want)
		}
	}
	var p RRDData
	if err := json.Unmarshal([]byte(`{"timestamp":60,"value":null}`), &p); err != nil || !math.IsNaN(float64(p.Value)) {
		t.Errorf("null reads as %v, %v; want NaN", p.Value, err)
	}
}
