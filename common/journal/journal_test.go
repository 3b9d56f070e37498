package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func open(t *testing.T, dir string) (*Journal, []string) {
	t.Helper()
	var got []string
	j, err := Open(dir, func(r []byte) error { got = append(got, string(r)); return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j, got
}

func add(t *testing.T, j *Journal, records ...string) {
	t.Helper()
	for _, r := range records {
		if err := j.Append([]byte(r)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReplay(t *testing.T) {
	dir := t.TempDir()
	j, got := open(t, dir)
	if len(got) != 0 {
		t.Errorf("an empty folder holds %q", got)
	}
	add(t, j, "a", "", "c")
	add(t, j, strings.Repeat("d", 100_000))
	j.Close()
	j, got = open(t, dir)
	if !slices.Equal(got, []string{"a", "", "c", strings.Repeat("d", 100_000)}) {
		t.Errorf("%d records come back", len(got))
	}
	add(t, j, "e")
	j.Close()
	if _, got = open(t, dir); len(got) != 5 || got[4] != "e" {
		t.Errorf("%d records come back after a restart", len(got))
	}
}

// However much of the end is missing, what was whole comes back, and what is appended
// afterwards does, too.
func TestTornAtEveryByte(t *testing.T) {
	whole := t.TempDir()
	j, _ := open(t, whole)
	add(t, j, "first", "second", "third")
	j.Close()
	file, err := os.ReadFile(filepath.Join(whole, "journal-1"))
	if err != nil {
		t.Fatal(err)
	}
	ends := []int{len(magic), len(magic) + 13, len(magic) + 27, len(file)}
	for n := len(magic); n <= len(file); n++ {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "journal-1"), file[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		want := []string{"first", "second", "third"}
		for len(want) > 0 && n < ends[len(want)] {
			want = want[:len(want)-1]
		}
		j, got := open(t, dir)
		if !slices.Equal(got, want) || j.Torn != int64(n-ends[len(want)]) {
			t.Errorf("%d bytes: %q, %d torn", n, got, j.Torn)
		}
		add(t, j, "next")
		j.Close()
		if _, got := open(t, dir); !slices.Equal(got, append(want, "next")) {
			t.Errorf("%d bytes, and one more record: %q", n, got)
		}
	}
}

func TestDamage(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	add(t, j, "first", "second", "third")
	j.Close()
	path := filepath.Join(dir, "journal-1")
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file[bytes.Index(file, []byte("second"))] ^= 1
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	j, got := open(t, dir)
	if !slices.Equal(got, []string{"first", "third"}) || j.Damaged != 1 {
		t.Errorf("%q, %d damaged", got, j.Damaged)
	}
	j.Close()
	if err := os.WriteFile(path, []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, nil); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("another file: %v", err)
	}
}

// A length that is damaged costs its record; what stands behind it is found.
func TestDamagedLength(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	for i := range 10 {
		add(t, j, fmt.Sprint("record", i))
	}
	j.Close()
	path := filepath.Join(dir, "journal-1")
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file[len(magic)+(headSize+7)+3] = 0x40 // of the second record
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		j, got := open(t, dir)
		if len(got) != 9 || got[0] != "record0" || got[1] != "record2" || j.Damaged != 1 || j.Torn != 0 {
			t.Errorf("%q, %d damaged, %d torn", got, j.Damaged, j.Torn)
		}
		j.Close()
	}
}

// Two processes in one folder would destroy it.
func TestOneProcessAFolder(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	if _, err := Open(dir, nil); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second one: %v", err)
	}
	j.Close()
	open(t, dir)
}

// Snapshot stands for what was before Turn; what came after is kept as it is.
func TestSnapshot(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	add(t, j, "a", "b", "c")
	turn(t, j)
	add(t, j, "d")
	if err := j.Snapshot(func(emit func([]byte) error) error {
		add(t, j, "meanwhile")
		return emit([]byte("abc"))
	}); err != nil {
		t.Fatal(err)
	}
	// One that fails changes nothing.
	no := errors.New("no")
	turn(t, j)
	if err := j.Snapshot(func(emit func([]byte) error) error { return errors.Join(emit([]byte("x")), no) }); !errors.Is(err, no) {
		t.Errorf("error %v", err)
	}
	add(t, j, "e")
	size := j.Size()
	j.Close()
	j, got := open(t, dir)
	if want := []string{"abc", "d", "meanwhile", "e"}; !slices.Equal(got, want) || j.Size() != size {
		t.Errorf("%q, %d bytes, want %q, %d", got, j.Size(), want, size)
	}
	if names := files(t, dir); !slices.Equal(names, []string{"journal-2", "journal-3", "snapshot-2"}) {
		t.Errorf("files %v", names)
	}
}

func turn(t *testing.T, j *Journal) {
	t.Helper()
	if err := j.Turn(); err != nil {
		t.Fatal(err)
	}
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// A crash at any step of a snapshot leaves files that the next start understands.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	add(t, j, "old")
	turn(t, j)
	if err := j.Snapshot(func(emit func([]byte) error) error { return emit([]byte("new")) }); err != nil {
		t.Fatal(err)
	}
	j.Close()
	// The old files were not removed yet, the next file has no first bytes yet, and the
	// next snapshot had begun.
	for name, text := range map[string]string{
		"journal-1": string(magic) + "old", "snapshot-1": "older", "journal-3": string(magic[:2]), "snapshot-3.tmp": "half", "other": "mine",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	j, got := open(t, dir)
	if !slices.Equal(got, []string{"new"}) {
		t.Errorf("%q", got)
	}
	add(t, j, "more")
	j.Close()
	if _, got := open(t, dir); !slices.Equal(got, []string{"new", "more"}) {
		t.Errorf("%q", got)
	}
	if names := files(t, dir); !slices.Equal(names, []string{"journal-2", "journal-3", "other", "snapshot-2"}) {
		t.Errorf("files %v", names)
	}
}

// A record that the disk does not take is not lost: it waits, and goes before the next.
func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	add(t, j, "a")
	good := j.file
	broken, err := os.Open(j.path("journal", j.seq)) // for reading only
	if err != nil {
		t.Fatal(err)
	}
	j.file = broken
	if err := j.Append([]byte("b")); err == nil {
		t.Error("it was written")
	}
	if err := j.Room(); err != nil {
		t.Errorf("there is no room for a second one: %v", err)
	}
	j.Fail(errors.New("no space left"))
	few := j.held
	j.held = make([]byte, maxHeld)
	if err := j.Room(); err == nil {
		t.Error("there is room without an end")
	}
	j.held = few
	j.Fail(nil)
	broken.Close()
	j.file = good
	add(t, j, "c")
	j.Close()
	if _, got := open(t, dir); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("%q", got)
	}
}

func TestReplayThatFails(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	add(t, j, "a")
	j.Close()
	if _, err := Open(dir, func([]byte) error { return fmt.Errorf("no such record") }); err == nil || !strings.Contains(err.Error(), "no such record") {
		t.Errorf("error %v", err)
	}
}

func FuzzRecover(f *testing.F) {
	f.Add([]byte("FJRN\x01\x01\x00\x00\x00\x00\x00\x00\x00x"))
	f.Fuzz(func(t *testing.T, file []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "journal-1"), file, 0o600); err != nil {
			t.Fatal(err)
		}
		n := 0
		j, err := Open(dir, func([]byte) error { n++; return nil })
		if err != nil {
			return
		}
		if err := j.Append([]byte("next")); err != nil {
			t.Fatal(err)
		}
		j.Close()
		m, last := 0, ""
		j, err = Open(dir, func(r []byte) error { m, last = m+1, string(r); return nil })
		if err != nil || m != n+1 || last != "next" {
			t.Errorf("%v: %d records after %d, the last is %q", err, m, n, last)
		}
		j.Close()
	})
}
