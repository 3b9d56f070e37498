package segment

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"falcon/modules/graph/tsdb/vfs"
)

func write(t testing.TB, dir string) string {
	t.Helper()
	name := Name(0, 3600)
	w, err := Create(vfs.OS{}, dir, name, Header{T0: 3600, T1: 7200, Shards: 3})
	if err != nil {
		t.Fatal(err)
	}
	for shard := range 3 {
		w.Shard(10)
		for id := uint32(shard); id < 10; id += 3 {
			if err := w.Add(id, fmt.Appendf(nil, "chunk %d/%d", shard, id)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestSegmentRoundTrip(t *testing.T) {
	dir := t.TempDir()
	g, err := Open(vfs.OS{}, dir, write(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	if g.T0 != 3600 || g.T1 != 7200 || g.Tier != 0 {
		t.Errorf("header %+v", g.Header)
	}
	for shard := range 4 {
		for id := range uint32(12) {
			want := ""
			if shard < 3 && id < 10 && int(id)%3 == shard {
				want = fmt.Sprintf("chunk %d/%d", shard, id)
			}
			got, err := g.Chunk(shard, id)
			if string(got) != want || err != nil || g.Has(shard, id) != (want != "") {
				t.Errorf("Chunk(%d, %d) = %q, %v, want %q", shard, id, got, err, want)
			}
		}
	}
	g.Acquire()
	g.Doom()
	if err := g.Release(); err != nil {
		t.Fatal(err)
	}
	if c, _ := g.Chunk(0, 0); string(c) != "chunk 0/0" {
		t.Error("a doomed segment must stay readable for who holds it")
	}
	if err := g.Release(); err != nil {
		t.Fatal(err)
	}
	if names, _ := (vfs.OS{}).ReadDir(dir); len(names) != 0 {
		t.Errorf("left after the last reader: %v", names)
	}
}

func TestDamageIsSeen(t *testing.T) {
	dir := t.TempDir()
	b, err := os.ReadFile(filepath.Join(dir, write(t, dir)))
	if err != nil {
		t.Fatal(err)
	}
	all := func(g *Segment) (text string, err error) {
		for shard := range 3 {
			for id := range uint32(10) {
				c, e := g.Chunk(shard, id)
				text += string(c)
				err = errors.Join(err, e)
			}
		}
		return text, err
	}
	good, _ := Parse(b)
	want, _ := all(good)
	for i := range b {
		d := bytes.Clone(b)
		d[i] ^= 0x10
		g, err := Parse(d)
		if err != nil {
			continue
		}
		if got, err := all(g); err == nil && got != want {
			t.Errorf("flipped bit in byte %d changed the content unseen", i)
		}
	}
	for cut := range b {
		if _, err := Parse(b[:cut]); err == nil {
			t.Errorf("Parse took a file cut at %d of %d", cut, len(b))
		}
	}
}

func TestParseName(t *testing.T) {
	if name := OverlayName(3, 1700000000, 2); name != "seg-3-1700000000.2" {
		t.Errorf("OverlayName = %q", name)
	}
	for _, tc := range []struct {
		name string
		tier uint8
		t0   uint32
		n    int
		ok   bool
	}{
		{"seg-0-0000003600", 0, 3600, 0, true},
		{"seg-3-1700000000.2", 3, 1700000000, 2, true},
		{"seg-0-0000003600.tmp", 0, 0, 0, false},
		{"seg-0-0000003600.bad", 0, 0, 0, false},
		{"seg-0", 0, 0, 0, false},
		{"wal-00000001", 0, 0, 0, false},
	} {
		tier, t0, n, ok := ParseName(tc.name)
		if ok != tc.ok || ok && (tier != tc.tier || t0 != tc.t0 || n != tc.n) {
			t.Errorf("ParseName(%q) = %d %d %d %v", tc.name, tier, t0, n, ok)
		}
	}
}

func FuzzParse(f *testing.F) {
	dir := f.TempDir()
	b, _ := os.ReadFile(filepath.Join(dir, write(f, dir)))
	f.Add(b)
	f.Add([]byte("FGSEG\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := Parse(b)
		if err != nil {
			return
		}
		for shard := range int(g.Shards) {
			for id := range uint32(g.Len(shard)) {
				_, _ = g.Chunk(shard, id)
			}
		}
	})
}
