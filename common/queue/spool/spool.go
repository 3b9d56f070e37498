package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"falcon/common/failpoint"
)

const (
	magic      = "FSPOOL"
	version    = 1
	headerSize = 16
	recordHead = 20
	maxPayload = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrFull reports that a record does not fit below Options.MaxBytes.
var ErrFull = errors.New("the spool is full")

// Options are the settings of a spool.
type Options struct {
	Dir string
	// MaxBytes bounds the files together; 0 means 1 GiB.
	MaxBytes int64
	// FileBytes is the size at which the next file is begun; 0 means 16 MiB. It is
	// at most a quarter of MaxBytes, since room is freed file by file.
	FileBytes int64
	// DropOldest makes room in a full spool by letting its oldest file go, counted
	// as dropped, where the new record would else be refused.
	DropOldest bool
	// Now tells the time a record is stamped with; nil means time.Now.
	Now func() time.Time
}

// Stats counts points (a record carries many). At each moment
// Start + In = Out + Dropped + Damaged + Held.
type Stats struct {
	Start   int64 // held when the spool was opened
	In      int64 // appended since
	Refused int64 // not taken: full, or the disk failed
	Out     int64 // committed
	Dropped int64 // let go, by Drop or to make room
	Damaged int64 // unreadable
	Held    int64
	Bytes   int64 // size of the files now
}

// A Record is what Append was given. Its Payload is valid until the next call of
// Read.
type Record struct {
	Payload []byte
	Points  int
	At      time.Time

	end  place
	upTo int64 // points of its file up to its end
}

// place is a position between two records.
type place struct {
	file   uint64
	offset int64
}

type file struct {
	number  uint64
	size    int64 // end of the last good record
	records int
	points  int64 // of all records
	read    int64 // of the records before the cursor
	done    int64 // of the records before the committed position
}

// A Spool is an open spool. Appending is safe for concurrent use; reading is for one
// reader, next to any number of writers.
type Spool struct {
	opts Options
	lock *os.File
	sync func(*os.File) error // fdatasync, but in tests

	// syncing is held while files are synced or closed; who holds it may take mu, never
	// the other way round: nobody waits for the disk under mu.
	syncing sync.Mutex

	mu        sync.Mutex
	full      []*os.File // no longer written to, and not synced yet
	files     []*file    // ascending by number; the last one is written
	w         *os.File
	bytes     int64
	cursor    place // next record Read returns
	committed place
	r         *os.File // open on cursor.file, or nil
	position  *positionFile
	stats     Stats
	broken    error  // a write could not even be taken back
	head, buf []byte // of the record read last
	out       []byte // of the record written last
	ready     chan struct{}
}

// Open opens the spool in o.Dir, which it creates when needed. A torn or damaged
// record ends the file it is in; what stood behind it is counted as damaged only
// if it was ever readable.
func Open(o Options) (*Spool, error) {
	if o.MaxBytes <= 0 {
		o.MaxBytes = 1 << 30
	}
	if o.FileBytes <= 0 {
		o.FileBytes = 16 << 20
	}
	o.FileBytes = max(min(o.FileBytes, o.MaxBytes/4), 1)
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Spool{opts: o, head: make([]byte, recordHead), ready: make(chan struct{}, 1), sync: func(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }}
	if err := s.open(); err != nil {
		s.release()
		return nil, fmt.Errorf("spool %s: %w", o.Dir, err)
	}
	return s, nil
}

func (s *Spool) open() error {
	if err := os.MkdirAll(s.opts.Dir, 0o755); err != nil {
		return err
	}
	var err error
	if s.lock, err = os.OpenFile(filepath.Join(s.opts.Dir, "LOCK"), os.O_CREATE|os.O_RDWR, 0o644); err != nil {
		return err
	}
	if err := unix.Flock(int(s.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return errors.New("another process has it open")
	}
	if s.position, err = openPosition(filepath.Join(s.opts.Dir, "position")); err != nil {
		return err
	}
	s.committed = s.position.at
	if err := s.scan(); err != nil {
		return err
	}
	s.cursor = s.committed
	for _, f := range s.files {
		s.bytes += f.size
		s.stats.Start += f.points - f.done
	}
	return s.openLast()
}

// scan finds the files, checks every record and removes what is committed.
func (s *Spool) scan() error {
	entries, err := os.ReadDir(s.opts.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		var number uint64
		if n, err := fmt.Sscanf(e.Name(), "spool-%016x", &number); n != 1 || err != nil {
			continue
		}
		if number < s.committed.file {
			if err := os.Remove(s.path(number)); err != nil {
				return err
			}
			continue
		}
		f, err := s.scanFile(number)
		if err != nil {
			return err
		}
		s.files = append(s.files, f)
	}
	slices.SortFunc(s.files, func(a, b *file) int { return int(int64(a.number) - int64(b.number)) })
	if len(s.files) == 0 {
		return nil
	}
	// After a power failure the position may point at what the disk has lost.
	if first := s.files[0]; first.number != s.committed.file {
		s.committed = place{first.number, headerSize}
	} else {
		s.committed.offset = max(min(s.committed.offset, first.size), headerSize)
	}
	return nil
}

func (s *Spool) scanFile(number uint64) (*file, error) {
	f := &file{number: number, size: headerSize}
	r, err := os.Open(s.path(number))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	head := make([]byte, headerSize)
	if _, err := io.ReadFull(r, head); err != nil || string(head[:6]) != magic {
		return f, nil // a file that was begun and never written to
	}
	if v := binary.LittleEndian.Uint16(head[6:]); v != version {
		return nil, fmt.Errorf("%s is of version %d, this program reads %d", r.Name(), v, version)
	}
	for {
		points, size, err := s.readAt(r, f.size)
		if err != nil {
			return f, nil // torn or damaged: the file ends here
		}
		f.size += size
		f.records++
		f.points += points
		if number == s.committed.file && f.size <= s.committed.offset {
			f.done, f.read = f.points, f.points
		}
	}
}

// readAt reads the record at offset into s.buf, behind its head, and returns its
// points and its size on disk.
func (s *Spool) readAt(r io.ReaderAt, offset int64) (points, size int64, err error) {
	var head [recordHead]byte
	if _, err := r.ReadAt(head[:], offset); err != nil {
		return 0, 0, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > maxPayload {
		return 0, 0, errDamaged
	}
	s.buf = slices.Grow(s.buf[:0], int(n))[:n]
	if _, err := r.ReadAt(s.buf, offset+recordHead); err != nil {
		return 0, 0, err
	}
	sum := crc32.Update(crc32.Checksum(head[8:], castagnoli), castagnoli, s.buf)
	if sum != binary.LittleEndian.Uint32(head[4:]) {
		return 0, 0, errDamaged
	}
	s.head = append(s.head[:0], head[:]...)
	return int64(binary.LittleEndian.Uint32(head[8:])), recordHead + int64(n), nil
}

var errDamaged = errors.New("the record is damaged")

// errUnopened is no damage: the process may have too many files open for a while.
var errUnopened = errors.New("the file can not be opened")

// openLast opens the newest file for writing, or begins the first.
func (s *Spool) openLast() error {
	if len(s.files) == 0 {
		number := max(s.committed.file, 1)
		if err := s.begin(number); err != nil {
			return err
		}
		s.committed = place{number, headerSize}
		s.cursor = s.committed
		return nil
	}
	last := s.files[len(s.files)-1]
	w, err := os.OpenFile(s.path(last.number), os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	// What stands behind the last good record was never taken.
	if err := errors.Join(w.Truncate(last.size), writeHeader(w, last.number)); err != nil {
		return errors.Join(err, w.Close())
	}
	s.w = w
	return nil
}

func (s *Spool) begin(number uint64) error {
	w, err := os.OpenFile(s.path(number), os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	if err := writeHeader(w, number); err != nil {
		return errors.Join(err, w.Close(), os.Remove(w.Name()))
	}
	s.w = w
	s.files = append(s.files, &file{number: number, size: headerSize})
	s.bytes += headerSize
	return nil
}

func writeHeader(w io.WriterAt, number uint64) error {
	head := make([]byte, headerSize)
	copy(head, magic)
	binary.LittleEndian.PutUint16(head[6:], version)
	binary.LittleEndian.PutUint64(head[8:], number)
	_, err := w.WriteAt(head, 0)
	return err
}

func (s *Spool) path(number uint64) string {
	return filepath.Join(s.opts.Dir, fmt.Sprintf("spool-%016x", number))
}

// Held returns how many points the spool in dir holds, without opening it for use.
func Held(dir string) (int64, error) {
	s, err := Open(Options{Dir: dir, MaxBytes: 1 << 62})
	if err != nil {
		return 0, err
	}
	n := s.Stats().Held
	return n, s.Close()
}

// Append adds a record of so many points. When it returns nil the record is with
// the kernel and survives a kill. ErrFull and errors of the disk leave the spool as
// it was; the points are counted as refused.
func (s *Spool) Append(payload []byte, points int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.append(payload, points)
	if err != nil {
		s.stats.Refused += int64(points)
		return err
	}
	s.stats.In += int64(points)
	failpoint.Reached("spool.appended")
	select {
	case s.ready <- struct{}{}:
	default:
	}
	return nil
}

func (s *Spool) append(payload []byte, points int) error {
	if s.broken != nil {
		return s.broken
	}
	if len(payload) > maxPayload {
		return fmt.Errorf("a record of %d bytes is larger than %d", len(payload), maxPayload)
	}
	size := int64(recordHead + len(payload))
	if headerSize+size > s.opts.MaxBytes {
		return ErrFull // letting others go would not help
	}
	for s.bytes+size > s.opts.MaxBytes {
		if !s.opts.DropOldest || len(s.files) == 1 {
			return ErrFull
		}
		if err := s.dropFirst(); err != nil {
			return err
		}
	}
	last := s.files[len(s.files)-1]
	if last.records > 0 && last.size+size > s.opts.FileBytes {
		if err := s.turn(); err != nil {
			return err
		}
		last = s.files[len(s.files)-1]
	}
	rec := slices.Grow(s.out[:0], int(size))
	rec = binary.LittleEndian.AppendUint32(rec, uint32(len(payload)))
	rec = append(rec, 0, 0, 0, 0)
	rec = binary.LittleEndian.AppendUint32(rec, uint32(points))
	rec = binary.LittleEndian.AppendUint64(rec, uint64(s.opts.Now().UnixMilli()))
	rec = append(rec, payload...)
	binary.LittleEndian.PutUint32(rec[4:], crc32.Checksum(rec[8:], castagnoli))
	s.out = rec
	if _, err := s.w.WriteAt(rec, last.size); err != nil {
		if e := s.w.Truncate(last.size); e != nil {
			s.broken = fmt.Errorf("half a record could not be taken back: %w", e)
		}
		return fmt.Errorf("append to the spool: %w", err)
	}
	last.size += size
	last.records++
	last.points += int64(points)
	s.bytes += size
	return nil
}

// turn begins the next file; the next Sync closes the one that is full.
func (s *Spool) turn() error {
	old, number := s.w, s.files[len(s.files)-1].number
	if err := s.begin(number + 1); err != nil {
		return fmt.Errorf("begin a file of the spool: %w", err)
	}
	s.full = append(s.full, old)
	failpoint.Reached("spool.turned")
	return nil
}

// Sync makes everything appended so far survive a power failure. Appending and reading go
// on meanwhile.
func (s *Spool) Sync() error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	s.mu.Lock()
	w, full := s.w, s.full
	s.full = nil
	s.mu.Unlock()
	var err error
	for _, f := range full {
		err = errors.Join(err, f.Sync(), f.Close())
	}
	return errors.Join(err, s.sync(w), s.position.sync())
}

// Ready receives after a record was appended; one value may stand for many.
func (s *Spool) Ready() <-chan struct{} { return s.ready }

// Read returns the next record behind the last one read. It reports false when there
// is none, or when its file can not be opened at the moment. A record stays in the
// spool until it is committed or dropped.
func (s *Spool) Read() (Record, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		f := s.fileOf(s.cursor.file)
		if f == nil {
			return Record{}, false
		}
		if s.cursor.offset < f.size {
			rec, err := s.readCursor(f)
			switch {
			case err == nil:
				return rec, true
			case errors.Is(err, errUnopened):
				return Record{}, false
			}
			s.skipDamaged(f)
		}
		if f == s.files[len(s.files)-1] {
			return Record{}, false
		}
		s.cursor = place{s.files[s.indexOf(f.number)+1].number, headerSize}
		s.closeReader()
	}
}

// Unread reports whether records are left that Read has not returned. After Read has
// reported false it is true only when a file could not be opened.
func (s *Spool) Unread() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.files {
		if f.number > s.cursor.file && f.records > 0 || f.number == s.cursor.file && f.size > s.cursor.offset {
			return true
		}
	}
	return false
}

func (s *Spool) readCursor(f *file) (Record, error) {
	if s.r == nil {
		r, err := os.Open(s.path(f.number))
		if err != nil {
			return Record{}, errors.Join(errUnopened, err)
		}
		s.r = r
	}
	points, size, err := s.readAt(s.r, s.cursor.offset)
	if err != nil {
		return Record{}, err
	}
	s.cursor.offset += size
	f.read += points
	at := time.UnixMilli(int64(binary.LittleEndian.Uint64(s.head[12:])))
	return Record{Payload: s.buf, Points: int(points), At: at, end: s.cursor, upTo: f.read}, nil
}

// skipDamaged gives up what the file holds behind the cursor.
func (s *Spool) skipDamaged(f *file) {
	s.stats.Damaged += f.points - f.read
	f.points = f.read
	s.cursor.offset = f.size
}

// Commit says that rec and all before it are delivered, and frees their room. It
// returns how many points left the spool by this: fewer than were read when some
// were dropped to make room meanwhile.
func (s *Spool) Commit(rec Record) (points int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.advance(rec)
	s.stats.Out += n
	return n, err
}

// Drop lets rec go together with all before it that were not committed, counts them
// as dropped and returns how many points that were.
func (s *Spool) Drop(rec Record) (points int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.advance(rec)
	s.stats.Dropped += n
	return n, err
}

// dropFirst lets the oldest file go to make room.
func (s *Spool) dropFirst() error {
	f, next := s.files[0], place{s.files[1].number, headerSize}
	if err := s.position.write(next); err != nil {
		return fmt.Errorf("write the position of the spool: %w", err)
	}
	s.stats.Dropped += f.points - f.done
	s.committed = next
	if s.cursor.file == f.number {
		s.cursor = next
		s.closeReader()
	}
	return s.removeFirst()
}

// advance moves the committed position behind rec, removes the files before it and
// returns how many points it passed over.
func (s *Spool) advance(rec Record) (points int64, err error) {
	p := rec.end
	if p.file < s.committed.file || p.file == s.committed.file && p.offset <= s.committed.offset {
		return 0, nil
	}
	if err := s.position.write(p); err != nil {
		return 0, fmt.Errorf("write the position of the spool: %w", err)
	}
	s.committed = p
	failpoint.Reached("spool.committed")
	for s.files[0].number < p.file {
		points += s.files[0].points - s.files[0].done
		err = errors.Join(err, s.removeFirst())
	}
	points += rec.upTo - s.files[0].done
	s.files[0].done = rec.upTo
	if last := s.files[0]; len(s.files) == 1 && p.offset == last.size && last.size > s.opts.FileBytes/8 {
		// Everything is delivered: free the room of the file that is still written.
		if err := errors.Join(err, s.turn()); err != nil {
			return points, err
		}
		s.committed = place{last.number + 1, headerSize}
		if s.cursor == p {
			s.cursor = s.committed
			s.closeReader()
		}
		err = errors.Join(s.position.write(s.committed), s.removeFirst())
	}
	return points, err
}

func (s *Spool) removeFirst() error {
	f := s.files[0]
	s.bytes -= f.size
	s.files = s.files[1:]
	err := os.Remove(s.path(f.number))
	failpoint.Reached("spool.removed")
	return err
}

// Rewind makes Read begin again behind the last committed record, after what was
// read could not be delivered.
func (s *Spool) Rewind() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cursor = s.committed
	s.closeReader()
	for _, f := range s.files {
		f.read = f.done
	}
}

// Empty reports whether every record is committed or dropped.
func (s *Spool) Empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.files {
		if f.number > s.committed.file && f.records > 0 || f.number == s.committed.file && f.size > s.committed.offset {
			return false
		}
	}
	return true
}

func (s *Spool) held() (n int64) {
	for _, f := range s.files {
		n += f.points - f.done
	}
	return n
}

// Stats returns what was counted so far.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Held, st.Bytes = s.held(), s.bytes
	return st
}

// Close syncs and closes the spool; its records stay.
func (s *Spool) Close() error {
	err := s.Sync()
	s.syncing.Lock()
	defer s.syncing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release()
	return err
}

func (s *Spool) release() {
	s.closeReader()
	for _, f := range append(s.full, s.w, s.lock) {
		if f != nil {
			_ = f.Close()
		}
	}
	if s.position != nil {
		_ = s.position.f.Close()
	}
}

func (s *Spool) closeReader() {
	if s.r != nil {
		_ = s.r.Close()
		s.r = nil
	}
}

func (s *Spool) indexOf(number uint64) int {
	return slices.IndexFunc(s.files, func(f *file) bool { return f.number == number })
}

func (s *Spool) fileOf(number uint64) *file {
	if i := s.indexOf(number); i >= 0 {
		return s.files[i]
	}
	return nil
}
