// Package du collects du.bs: the size of folders that rules watch.
package du

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"falcon/modules/agent/collect"
)

const (
	// limit is how long a walk may take.
	limit = 30 * time.Second
	// parallel is how many walks there are at once.
	parallel = 4
	// maxLinks bounds the files with several names that a walk remembers.
	maxLinks = 1_000_000
)

// Collector walks through folders.
type Collector struct {
	root  collect.Root
	wants collect.Wants[string]
	limit time.Duration
	walk  func(ctx context.Context, path string) (int64, error) // size; tests replace it

	mu    sync.Mutex
	stuck map[string]bool // walks of an earlier round in which the kernel hangs
}

// New returns a collector.
func New(root collect.Root) *Collector {
	return &Collector{root: root, limit: limit, walk: size, stuck: map[string]bool{}}
}

// Want takes tags of one pair, path=/var/log.
func (c *Collector) Want(tags []string) []collect.Unwanted {
	return c.wants.Set(tags, parse, func(path string) string { return path })
}

// parse, as stock, takes any key.
func parse(tags string) (string, string) {
	_, path, ok := strings.Cut(tags, "=")
	path = strings.TrimSpace(path)
	switch {
	case !ok || strings.Contains(path, "="):
		return "", "it is not one pair, such as path=/var/log"
	case !filepath.IsAbs(path):
		return "", "the path does not begin with /"
	case strings.Contains(path, ","):
		return "", "the path has a comma, which a tag can not hold"
	}
	return path, ""
}

// Deadline is time for all walks, a few at once.
func (c *Collector) Deadline() time.Duration {
	n := max(len(c.wants.Get()), 1)
	return time.Duration((n+parallel-1)/parallel)*c.limit + time.Second
}

// Collect returns du.bs for each path, in bytes: what `du -bs` prints. It is -1, and
// there is an error, when something can not be read or time is up.
func (c *Collector) Collect(ctx context.Context) ([]collect.Item, error) {
	paths := c.wants.Get()
	items, errs := make([]collect.Item, len(paths)), make([]error, len(paths))
	places := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for i, path := range paths {
		wg.Go(func() {
			places <- struct{}{}
			n, err := c.measure(ctx, path)
			<-places
			if err != nil {
				n, errs[i] = -1, fmt.Errorf("du.bs of %s: %w", path, err)
			}
			items[i] = collect.G("du.bs", float64(n), "path", path)
		})
	}
	wg.Wait()
	return items, errors.Join(errs...)
}

var errStuck = errors.New("the kernel hangs in an earlier walk")

// measure walks within the limit. A walk in which the kernel hangs is left behind, and
// the path is not walked again before it returns.
func (c *Collector) measure(ctx context.Context, path string) (int64, error) {
	c.mu.Lock()
	stuck := c.stuck[path]
	c.stuck[path] = true
	c.mu.Unlock()
	if stuck {
		return 0, errStuck
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.limit, fmt.Errorf("not done within %v", c.limit))
	type result struct {
		n   int64
		err error
	}
	done := make(chan result, 1)
	go func() {
		defer cancel()
		n, err := c.walk(ctx, c.root.Path(path))
		c.mu.Lock()
		delete(c.stuck, path)
		c.mu.Unlock()
		done <- result{n, err}
	}()
	select {
	case r := <-done:
		return r.n, r.err
	case <-ctx.Done():
	}
	select { // the walk may have ended ctx by its end
	case r := <-done:
		return r.n, r.err
	case <-time.After(grace):
		return 0, context.Cause(ctx)
	}
}

// grace is how long a walk has to notice that its time is up.
const grace = 100 * time.Millisecond

// A file is what tells that two names are one file.
type file struct{ dev, ino uint64 }

// size adds up the apparent sizes of path and of all below it, folders among them, on
// whatever filesystem. Symbolic links are not followed, and a file of several names
// counts once. What vanishes during the walk does not count.
func size(ctx context.Context, path string) (int64, error) {
	var total int64
	links := map[file]bool{}
	add := func(info fs.FileInfo) error {
		st, ok := info.Sys().(*syscall.Stat_t)
		if ok && !info.IsDir() && st.Nlink > 1 {
			f := file{uint64(st.Dev), st.Ino}
			if links[f] {
				return nil
			}
			if links[f] = true; len(links) > maxLinks {
				return fmt.Errorf("more than %d files with several names", maxLinks)
			}
		}
		total += info.Size()
		return nil
	}
	info, err := os.Lstat(path)
	if err != nil {
		return 0, err
	}
	if err := add(info); err != nil || !info.IsDir() {
		return total, err
	}
	for todo := []string{path}; len(todo) > 0; {
		dir := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		below, err := list(ctx, dir, add)
		if err != nil && (dir == path || !errors.Is(err, fs.ErrNotExist)) {
			return 0, err
		}
		todo = append(todo, below...)
	}
	return total, nil
}

// list adds what is in a folder and returns the folders among it.
func list(ctx context.Context, dir string, add func(fs.FileInfo) error) (below []string, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		entries, err := d.ReadDir(512)
		for _, e := range entries {
			info, err := e.Info()
			switch {
			case errors.Is(err, fs.ErrNotExist):
				continue
			case err != nil:
				return nil, err
			case info.IsDir():
				below = append(below, filepath.Join(dir, e.Name()))
			}
			if err := add(info); err != nil {
				return nil, err
			}
		}
		if errors.Is(err, io.EOF) {
			return below, nil
		}
		if err != nil {
			return nil, err
		}
	}
}
