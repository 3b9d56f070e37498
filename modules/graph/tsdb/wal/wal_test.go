package wal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"falcon/modules/graph/tsdb/record"
	"falcon/modules/graph/tsdb/vfs"
)

func rec(n int) []byte {
	return record.End(record.AppendDel(record.Begin(nil, record.Del), 1, uint32(n)), 0)
}

// ids reads back what is in the files, in their order.
func ids(t *testing.T, dir string) (out []uint32) {
	t.Helper()
	names, err := vfs.OS{}.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if _, ok := ParseName(n); !ok {
			t.Fatalf("stray file %q", n)
		}
		b, err := os.ReadFile(filepath.Join(dir, n))
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckHeader(b); err != nil {
			t.Fatal(err)
		}
		for sc := record.NewScanner(b, HeaderLen); ; {
			_, p, ok := sc.Next()
			if !ok {
				break
			}
			_, id, _ := record.ParseDel(p)
			out = append(out, id)
		}
	}
	return out
}

func TestBufferedRecordsGoFirst(t *testing.T) {
	dir := t.TempDir()
	l, err := Create(vfs.OS{}, dir, 1, 1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	l.Buffer(rec(1))
	l.Buffer(rec(2))
	if got := ids(t, dir); got != nil {
		t.Fatalf("written too early: %v", got)
	}
	if _, err := l.Write(rec(3), 0, false); err != nil {
		t.Fatal(err)
	}
	l.Buffer(rec(4))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(ids(t, dir)); got != "[1 2 3 4]" {
		t.Errorf("got %s", got)
	}
	if _, err := l.Write(rec(5), 0, false); err == nil {
		t.Error("a closed log takes writes")
	}
}

func TestFilesRotateAndAreDroppedFromTheOldest(t *testing.T) {
	dir := t.TempDir()
	l, err := Create(vfs.OS{}, dir, 1, 100, nil)
	if err != nil {
		t.Fatal(err)
	}
	// File k holds points of window k, but the second one of a late window.
	for i := range 6 {
		newest := uint32(i)
		if i == 1 {
			newest = 9
		}
		if _, err := l.Write(bytes.Repeat(rec(i), 8), newest, false); err != nil {
			t.Fatal(err)
		}
	}
	if _, files := l.Size(); files != 7 {
		t.Fatalf("%d files, want 7", files)
	}
	if err := l.Sync(0); err != nil {
		t.Fatal(err)
	}
	seq, err := l.Rotate()
	if err != nil || seq != 7 {
		t.Fatalf("Rotate = %d, %v: an empty file must not be rotated", seq, err)
	}
	if err := l.Drop(seq, 5, seq); err != nil {
		t.Fatal(err)
	}
	if _, files := l.Size(); files != 6 {
		t.Errorf("%d files, want only the first to go, since the second must stay", files)
	}
	if err := l.Drop(3, 10, 3); err != nil {
		t.Fatal(err)
	}
	if _, files := l.Size(); files != 5 {
		t.Errorf("%d files, want those from 3 on", files)
	}
	if got := ids(t, dir); got[0] != 2 {
		t.Errorf("begins with %d, want 2", got[0])
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// Every put that was buffered before a write of its owner is in front of it,
// whoever writes at the time.
func TestOrderHoldsBetweenWriters(t *testing.T) {
	dir := t.TempDir()
	l, err := Create(vfs.OS{}, dir, 1, 4096, nil)
	if err != nil {
		t.Fatal(err)
	}
	const writers, each = 4, 200
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				id := w*each + i
				l.Buffer(rec(2 * id))
				pos, err := l.Write(rec(2*id+1), 0, false)
				if err == nil && i%50 == 0 {
					err = l.Sync(pos)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	seen := map[uint32]bool{}
	for _, id := range ids(t, dir) {
		if id%2 == 1 && !seen[id-1] {
			t.Fatalf("record %d came before its put", id)
		}
		if seen[id] {
			t.Fatalf("record %d came twice", id)
		}
		seen[id] = true
	}
	if len(seen) != 2*writers*each {
		t.Errorf("%d records, want %d", len(seen), 2*writers*each)
	}
}

func TestCheckHeader(t *testing.T) {
	good := append([]byte("FGWL\x02\x00\x00\x00"), make([]byte, 8)...)
	newer := bytes.Clone(good)
	newer[4] = 3
	for _, tc := range []struct {
		name string
		b    []byte
		ok   bool
	}{
		{"good", good, true}, {"torn", good[:9], false}, {"newer", newer, false}, {"other", make([]byte, 16), false},
	} {
		if err := CheckHeader(tc.b); (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

// noRoom can not make a second file.
type noRoom struct {
	vfs.OS
	left int
}

func (f *noRoom) Create(path string) (vfs.File, error) {
	if f.left--; f.left < 0 {
		return nil, errors.New("no room")
	}
	return f.OS.Create(path)
}

func TestAFileThatCanNotBegin(t *testing.T) {
	dir := t.TempDir()
	l, err := Create(&noRoom{left: 1}, dir, 1, 30, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Write(rec(1), 0, false); err != nil {
		t.Fatalf("the record is in the first file: %v", err)
	}
	if _, err := l.Write(rec(2), 0, false); err == nil {
		t.Error("there is no file for the second record, and no error")
	}
	if err := l.Close(); err == nil {
		t.Error("Close hides the error")
	}
	if got := fmt.Sprint(ids(t, dir)); got != "[1]" {
		t.Errorf("got %s", got)
	}
}
