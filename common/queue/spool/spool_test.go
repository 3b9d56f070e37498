package spool

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

func open(t *testing.T, o Options) *Spool {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustAppend(t *testing.T, s *Spool, payload string, points int) {
	t.Helper()
	if err := s.Append([]byte(payload), points); err != nil {
		t.Fatalf("Append(%q) = %v", payload, err)
	}
}

func balance(t *testing.T, s *Spool) Stats {
	t.Helper()
	st := s.Stats()
	if st.Start+st.In != st.Out+st.Dropped+st.Damaged+st.Held {
		t.Errorf("Stats = %+v: start + in is not out + dropped + damaged + held", st)
	}
	return st
}

func readAll(s *Spool) (got []string) {
	for r, ok := s.Read(); ok; r, ok = s.Read() {
		got = append(got, string(r.Payload))
	}
	return got
}

func TestRecordsComeBackInOrderAfterReopening(t *testing.T) {
	dir := t.TempDir()
	at := time.UnixMilli(1795320654123)
	s := open(t, Options{Dir: dir, Now: func() time.Time { return at }})
	mustAppend(t, s, "one", 1)
	mustAppend(t, s, "two", 2)
	mustAppend(t, s, "three", 3)
	r, ok := s.Read()
	if !ok || string(r.Payload) != "one" || r.Points != 1 || !r.At.Equal(at) {
		t.Fatalf("Read = %+v, %v", r, ok)
	}
	if _, err := s.Commit(r); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Read(); !ok { // read, not committed
		t.Fatal("no second record")
	}
	if st := balance(t, s); st.Out != 1 || st.Held != 5 {
		t.Errorf("Stats = %+v", st)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = open(t, Options{Dir: dir})
	defer s.Close()
	if got := readAll(s); !slices.Equal(got, []string{"two", "three"}) {
		t.Errorf("after reopening: %q", got)
	}
	s.Rewind()
	if got := readAll(s); !slices.Equal(got, []string{"two", "three"}) {
		t.Errorf("after Rewind: %q", got)
	}
	if st := balance(t, s); st.Start != 5 {
		t.Errorf("Stats = %+v, want start 5", st)
	}
}

func TestFullRefusesAndRoomComesBack(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir(), MaxBytes: 4096})
	defer s.Close()
	payload := string(bytes.Repeat([]byte("x"), 100))
	n := 0
	for s.Append([]byte(payload), 10) == nil {
		n++
	}
	if err := s.Append([]byte(payload), 10); !errors.Is(err, ErrFull) {
		t.Errorf("Append to a full spool = %v, want ErrFull", err)
	}
	if st := balance(t, s); st.In != int64(10*n) || st.Refused != 20 || st.Bytes > 4096 {
		t.Errorf("after %d records: %+v", n, st)
	}
	for r, ok := s.Read(); ok; r, ok = s.Read() {
		if _, err := s.Commit(r); err != nil {
			t.Fatal(err)
		}
	}
	if st := balance(t, s); st.Held != 0 || st.Bytes > 1024 || !s.Empty() {
		t.Errorf("after everything was delivered: %+v, empty %v", st, s.Empty())
	}
	for i := range n - 4 {
		if err := s.Append([]byte(payload), 10); err != nil {
			t.Fatalf("record %d of the second round: %v", i, err)
		}
	}
}

func TestDropCounts(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	defer s.Close()
	mustAppend(t, s, "old", 7)
	mustAppend(t, s, "new", 1)
	r, _ := s.Read()
	if _, err := s.Drop(r); err != nil {
		t.Fatal(err)
	}
	if st := balance(t, s); st.Dropped != 7 || st.Held != 1 || s.Empty() {
		t.Errorf("Stats = %+v", st)
	}
}

// A spool that may let old records go never refuses a new one, and a commit of what
// was let go counts nothing.
func TestDropOldestMakesRoom(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir(), MaxBytes: 4096, DropOldest: true})
	defer s.Close()
	mustAppend(t, s, "first", 1)
	first, _ := s.Read()
	for i := range 200 {
		mustAppend(t, s, fmt.Sprintf("%0100d", i), 1)
	}
	if st := balance(t, s); st.Dropped == 0 || st.Refused != 0 || st.Bytes > 4096 {
		t.Errorf("Stats = %+v: want some dropped, none refused, no more than 4096 bytes", st)
	}
	if n, err := s.Commit(first); n != 0 || err != nil {
		t.Errorf("Commit of a dropped record = %d, %v; want 0", n, err)
	}
	got := readAll(s)
	if last := got[len(got)-1]; last != fmt.Sprintf("%0100d", 199) {
		t.Errorf("the newest record read is %q", last)
	}
	balance(t, s)
}

// A disk that takes its time to sync holds up nobody, also while a file is full.
func TestSlowDiskHoldsUpNobody(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir(), MaxBytes: 10_000, FileBytes: 100})
	asked, release := make(chan struct{}), make(chan struct{})
	s.sync = func(*os.File) error {
		asked <- struct{}{}
		<-release
		return nil
	}
	mustAppend(t, s, "one", 1)
	ended := make(chan error)
	go func() { ended <- s.Sync() }()
	<-asked
	for range 10 { // several files
		mustAppend(t, s, string(make([]byte, 60)), 1)
	}
	for range 11 {
		rec, ok := s.Read()
		if !ok {
			t.Fatal("no record while the disk syncs")
		}
		if _, err := s.Commit(rec); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	go func() { <-asked }() // Close syncs, too
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// A record that will never fit makes nobody go.
func TestTooLargeRecordMakesNoRoom(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir(), MaxBytes: 1000, FileBytes: 100, DropOldest: true})
	for range 5 {
		mustAppend(t, s, string(make([]byte, 60)), 1)
	}
	if err := s.Append(make([]byte, 1000), 1); !errors.Is(err, ErrFull) {
		t.Errorf("Append of more than there is room for: %v", err)
	}
	if st := balance(t, s); st.Held != 5 || st.Refused != 1 {
		t.Errorf("Stats = %+v", st)
	}
}

// Whatever a crash leaves of the last record, all before it is intact and the
// spool goes on.
func TestTornTail(t *testing.T) {
	whole := t.TempDir()
	s := open(t, Options{Dir: whole})
	mustAppend(t, s, "first", 1)
	mustAppend(t, s, "second", 2)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Base(s.path(1))
	b, err := os.ReadFile(filepath.Join(whole, name))
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(b) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name), b[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, Options{Dir: dir})
		mustAppend(t, s, "third", 3)
		got := readAll(s)
		want := []string{"third"}
		if cut >= headerSize+recordHead+5 {
			want = []string{"first", "third"}
		}
		if !slices.Equal(got, want) {
			t.Errorf("cut at %d of %d: %q, want %q", cut, len(b), got, want)
		}
		balance(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDamageWhileOpenIsCounted(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir(), FileBytes: 64, MaxBytes: 1 << 20})
	defer s.Close()
	for i := range 6 {
		mustAppend(t, s, fmt.Sprintf("record %d, thirty bytes long ...", i), 10)
	}
	second := s.files[1].number
	f, err := os.OpenFile(s.path(second), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("?"), headerSize+recordHead+3); err != nil {
		t.Fatal(err)
	}
	f.Close()
	got := readAll(s)
	st := balance(t, s)
	if st.Damaged == 0 || int64(len(got))*10+st.Damaged != 60 {
		t.Errorf("read %d records, %+v: want every point read or counted as damaged", len(got), st)
	}
}

// A file that can not be opened for a moment is not damaged.
func TestUnopenedIsNotDamaged(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	mustAppend(t, s, "one", 1)
	file := s.path(1)
	if err := os.Rename(file, file+".away"); err != nil {
		t.Fatal(err)
	}
	if got := readAll(s); len(got) != 0 || !s.Unread() {
		t.Errorf("read %q of a file that is not there; unread is %v", got, s.Unread())
	}
	if err := os.Rename(file+".away", file); err != nil {
		t.Fatal(err)
	}
	if got := readAll(s); len(got) != 1 || balance(t, s).Damaged != 0 || s.Unread() {
		t.Errorf("read %q afterwards, %+v; unread is %v", got, s.Stats(), s.Unread())
	}
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	defer s.Close()
	if _, err := Open(Options{Dir: dir}); err == nil || err.Error() != "spool "+dir+": another process has it open" {
		t.Errorf("second Open = %v", err)
	}
}

// A random life: append, read, commit, drop, rewind, reopen; next to a model.
func TestRandomLife(t *testing.T) {
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		o := Options{Dir: t.TempDir(), FileBytes: 200, MaxBytes: 1 << 20}
		s := open(t, o)
		var model []string // not yet committed
		cursor, serial := 0, 0
		var last Record
		for step := range 400 {
			switch k := rnd.IntN(20); {
			case k < 9:
				p := fmt.Sprintf("%d %s", serial, bytes.Repeat([]byte("."), rnd.IntN(60)))
				serial++
				mustAppend(t, s, p, 1)
				model = append(model, p)
			case k < 15:
				r, ok := s.Read()
				if ok != (cursor < len(model)) || ok && string(r.Payload) != model[cursor] {
					t.Fatalf("seed %d step %d: Read = %q, %v; model has %d of %d", seed, step, r.Payload, ok, cursor, len(model))
				}
				if ok {
					cursor++
					last = r
				}
			case k < 18 && cursor > 0:
				if _, err := s.Commit(last); err != nil {
					t.Fatal(err)
				}
				model, cursor = model[cursor:], 0
			case k == 18:
				s.Rewind()
				cursor = 0
			case k == 19:
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = open(t, o)
				cursor = 0
			}
			if st := balance(t, s); st.Held != int64(len(model)) || s.Empty() != (len(model) == 0) {
				t.Fatalf("seed %d step %d: %+v, empty %v; model holds %d", seed, step, st, s.Empty(), len(model))
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A process that is killed while it appends loses nothing that Append took.
func TestKill(t *testing.T) {
	if dir := os.Getenv("SPOOL_TEST_CHILD"); dir != "" {
		child(dir)
		return
	}
	rounds := 5
	if os.Getenv("FALCON_SOAK") != "" {
		rounds = 200
	}
	dir := t.TempDir()
	next := 0
	for round := range rounds {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), "SPOOL_TEST_CHILD="+dir, "SPOOL_TEST_FROM="+strconv.Itoa(next))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		acked := -1
		lines := bufio.NewScanner(out)
		for stop := 50 + rand.IntN(3000); stop > 0 && lines.Scan(); stop-- {
			if acked, err = strconv.Atoi(lines.Text()); err != nil {
				t.Fatal(err)
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // acknowledged, too, before the kill arrived
			if n, err := strconv.Atoi(lines.Text()); err == nil {
				acked = n
			}
		}
		_ = cmd.Wait()
		s := open(t, Options{Dir: dir})
		for r, ok := s.Read(); ok; r, ok = s.Read() {
			if got := string(r.Payload); got != strconv.Itoa(next) {
				t.Fatalf("round %d: record %s where %d was due", round, got, next)
			}
			next++
			if _, err := s.Commit(r); err != nil {
				t.Fatal(err)
			}
		}
		if next <= acked {
			t.Fatalf("round %d: acknowledged up to %d, found up to %d", round, acked, next-1)
		}
		balance(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func child(dir string) {
	n, _ := strconv.Atoi(os.Getenv("SPOOL_TEST_FROM"))
	s, err := Open(Options{Dir: dir, FileBytes: 4096})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for ; ; n++ {
		if err := s.Append(strconv.AppendInt(nil, int64(n), 10), 1); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(n)
	}
}

func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	s, err := Open(Options{Dir: dir})
	if err != nil {
		f.Fatal(err)
	}
	_ = s.Append([]byte("payload"), 3)
	_ = s.Close()
	b, err := os.ReadFile(s.path(1))
	if err != nil {
		f.Fatal(err)
	}
	p, err := os.ReadFile(filepath.Join(dir, "position"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, p)
	f.Add([]byte(magic+"\x01\x00________\xff\xff\xff\xff"), []byte("x"))
	f.Fuzz(func(t *testing.T, b, p []byte) {
		dir := t.TempDir()
		if os.WriteFile(filepath.Join(dir, "spool-0000000000000001"), b, 0o600) != nil ||
			os.WriteFile(filepath.Join(dir, "position"), p, 0o600) != nil {
			t.Skip("no room")
		}
		s, err := Open(Options{Dir: dir})
		if err != nil {
			return
		}
		defer s.Close()
		readAll(s)
		if err := s.Append([]byte("more"), 1); err != nil {
			t.Fatal(err)
		}
		balance(t, s)
		if got := readAll(s); !slices.Contains(got, "more") {
			t.Errorf("the record appended last is not read: %q", got)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	s, err := Open(Options{Dir: b.TempDir(), MaxBytes: 1 << 40})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	payload := make([]byte, 10_000) // about a thousand points
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		if err := s.Append(payload, 1000); err != nil {
			b.Fatal(err)
		}
	}
}
