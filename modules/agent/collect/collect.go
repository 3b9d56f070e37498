// Package collect holds what the collectors of the agent share. Each collector
// has a folder of its own; metric names, types, tags and units are stock's
// (contract ingest 3.5).
package collect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"falcon/common/model"
	"falcon/common/run"
)

// An Item is one value that a collector found. Endpoint, step and time are the
// agent's to add.
type Item struct {
	Metric string
	Tags   string // sorted, k=v,k=v
	Type   string // model.Gauge or model.Counter
	Value  float64
}

// G returns an item of type GAUGE.
func G(metric string, v float64, tags ...string) Item { return item(model.Gauge, metric, v, tags) }

// C returns an item of type COUNTER.
func C(metric string, v float64, tags ...string) Item { return item(model.Counter, metric, v, tags) }

// item joins tags, which come as key, value, key, value with keys ascending.
func item(typ, metric string, v float64, tags []string) Item {
	it := Item{Metric: metric, Type: typ, Value: v}
	for i := 0; i+1 < len(tags); i += 2 {
		if i > 0 {
			it.Tags += ","
		}
		it.Tags += tags[i] + "=" + tags[i+1]
	}
	return it
}

// A Collector finds values. Collect is called by one goroutine at a time and should
// return when ctx ends; one that can not, because the kernel hangs, is left behind
// and asked again once it has returned. Items found before an error count.
type Collector interface {
	Collect(ctx context.Context) ([]Item, error)
}

// A Sampler also wants to look a second before Collect is called, and once more right
// before, for values over that second. Sample may be called at any moment.
type Sampler interface {
	Collector
	Sample() error
}

// A Slow collector may take longer than others: du over a large folder, a page that
// is asked for.
type Slow interface {
	Collector
	// Deadline is how long it may take.
	Deadline() time.Duration
}

// A Root says where the kernel's files are found. The agent of a host takes its own; one
// in a container those of the host, wherever they are mounted there.
type Root struct {
	// Dir is where the host's root is.
	Dir string
	// Proc and Sys are where its /proc and /sys are; empty means below Dir.
	Proc, Sys string
}

// At returns the root of a host whose root is dir, with /proc and /sys below it.
func At(dir string) Root { return Root{Dir: dir} }

// Path returns where a path of the host is.
func (r Root) Path(elem ...string) string {
	path := filepath.Join(append([]string{"/"}, elem...)...)
	for _, m := range []struct{ at, is string }{{"/proc", r.Proc}, {"/sys", r.Sys}} {
		if rest, ok := strings.CutPrefix(path, m.at); ok && m.is != "" && (rest == "" || rest[0] == '/') {
			return filepath.Join(m.is, rest)
		}
	}
	return filepath.Join(r.Dir, path)
}

// About names the file of the host, such as /proc/meminfo, that an error is about, and
// keeps what is quoted of it short.
func About(path string, err error) error {
	const longest = 300
	if err == nil {
		return nil
	}
	text := err.Error()
	switch {
	case len(text) > longest:
		return fmt.Errorf("%s: %s…", path, strings.ToValidUTF8(text[:longest], "?"))
	case strings.Contains(text, path):
		return err
	}
	return fmt.Errorf("%s: %w", path, err)
}

// Parse reads a file of the host, such as /proc/meminfo, by a function of a library. Some
// take for granted that the kernel's files are well, and panic where they are not; that is
// an error about the file as any other.
func Parse[T any](path string, read func() (T, error)) (v T, err error) {
	err = run.Recovered(func() (err error) {
		v, err = read()
		return err
	})
	if p, ok := errors.AsType[*run.PanicError](err); ok {
		err = fmt.Errorf("it can not be read: %v", p.Value)
	}
	return v, About(path, err)
}

// File returns a file of the host that is read again and again.
func (r Root) File(elem ...string) *File { return &File{path: r.Path(elem...)} }

// A File stays open between two looks, which then take one call of the system and no
// memory. It is used by one goroutine at a time.
type File struct {
	path string
	open *os.File
	buf  []byte
}

// maxFile bounds what is read of one file.
const maxFile = 16 << 20

// Read returns the content as it is now; it is good until the next call.
func (f *File) Read() ([]byte, error) {
	if f.open == nil {
		file, err := os.Open(f.path)
		if err != nil {
			return nil, err
		}
		f.open = file
	}
	n := 0
	for {
		if n == len(f.buf) {
			f.buf = append(f.buf, make([]byte, max(4<<10, n))...)
		}
		got, err := f.open.ReadAt(f.buf[n:], int64(n))
		n += got
		if n > maxFile {
			err = fmt.Errorf("%s is larger than %d MiB", f.path, maxFile>>20)
		}
		if err == io.EOF {
			return f.buf[:n], nil
		}
		if err != nil {
			_ = f.open.Close() // the next look opens it anew
			f.open, f.buf = nil, nil
			return nil, err
		}
	}
}

// Read returns the content of a file of the host.
func (r Root) Read(elem ...string) (string, error) {
	b, err := os.ReadFile(r.Path(elem...))
	return string(b), err
}
