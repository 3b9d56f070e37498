package transfer

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"falcon/common/conf"
	"falcon/common/daemon"
	"falcon/common/model"
	"falcon/common/run"
)

// Socket is the line protocol: "update host metric 1500000000 7 GAUGE 60".
type Socket struct {
	daemon.Listener
	// Timeout is how long a connection may be silent; 0 means an hour.
	Timeout conf.Seconds `json:"timeout"`
}

const (
	// maxLine is the longest line in bytes; a longer one is skipped to its end.
	maxLine = 16 << 10
	// maxLineItems is how many points of a connection are taken together.
	maxLineItems = 200
	// maxLineConns bounds the connections: each has memory for a line.
	maxLineConns = 4096
	// socketQuiet is how often lost points are logged at most.
	socketQuiet = time.Minute
)

// serveLines takes lines until ctx ends. Whoever writes lines hears no answer, so a
// connection is read on only when what it brought is kept or counted as dropped: a
// writer that is too fast waits in its own write.
func (t *Transfer) serveLines(ctx context.Context, ln net.Listener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	room := make(chan struct{}, maxLineConns)
	for {
		c, err := ln.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = c.Close()
			}
			return nil
		}
		if err != nil {
			if _, passes := errors.AsType[net.Error](err); !passes || errors.Is(err, net.ErrClosed) {
				return err
			}
			// Out of file descriptors, most likely: it passes when others hang up.
			t.log.Warn("connection not accepted", "err", err, "retry_in", time.Second)
			run.Sleep(ctx, time.Second)
			continue
		}
		select {
		case room <- struct{}{}:
		default:
			t.log.Warn("line connection refused: too many are open", "peer", c.RemoteAddr().String(), "n", maxLineConns)
			_ = c.Close()
			continue
		}
		wg.Go(func() {
			defer func() { <-room }()
			defer c.Close()
			if err := run.Recovered(func() error { t.readLines(ctx, c); return nil }); err != nil {
				t.log.Error("line connection ended", "peer", c.RemoteAddr().String(), "err", err)
			}
		})
	}
}

// readLines takes the lines of one connection until quit, its end, or ctx's. What
// came with one read is taken at once: while that is on its way more lines come, so
// that a busy connection is taken by the hundred and a slow one line by line.
func (t *Transfer) readLines(ctx context.Context, c net.Conn) {
	idle := t.cfg.Socket.Timeout.D()
	if err := c.SetReadDeadline(time.Now().Add(idle)); err != nil {
		return
	}
	var mu sync.Mutex // the deadline of a stop must not be moved again
	stopped := false
	stop := context.AfterFunc(ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		stopped = true
		_ = c.SetReadDeadline(time.Now())
	})
	defer stop()
	l := lines{t: t}
	buf := make([]byte, maxLine)
	n := 0
	for {
		k, err := c.Read(buf[n:])
		n += k
		rest, quit := l.split(buf[:n])
		if err != nil && !quit && len(rest) > 0 {
			if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() {
				l.line(rest) // the last line had no end
			}
			rest = nil
		}
		l.flush()
		if quit || err != nil {
			return
		}
		if n = copy(buf, rest); n == len(buf) {
			l.ignored(1)
			l.skip, n = true, 0
		}
		mu.Lock()
		if !stopped {
			err = c.SetReadDeadline(time.Now().Add(idle))
		}
		mu.Unlock()
		if err != nil {
			return
		}
	}
}

// lines gathers the points of one connection.
type lines struct {
	t     *Transfer
	items update
	skip  bool // the line under way is too long, and of no use
}

// split takes the whole lines of b and returns what is behind the last of them, and
// whether one of them ends the connection.
func (l *lines) split(b []byte) (rest []byte, quit bool) {
	for {
		i := bytes.IndexByte(b, '\n')
		switch {
		case i < 0 && l.skip:
			return nil, false
		case i < 0:
			return b, false
		case l.skip:
			l.skip = false
		case l.line(b[:i]):
			return nil, true
		}
		b = b[i+1:]
		if len(l.items) >= maxLineItems {
			l.flush()
		}
	}
}

// line takes one line and reports whether it ends the connection.
func (l *lines) line(b []byte) (quit bool) {
	f := strings.Fields(string(b))
	switch {
	case len(f) == 1 && f[0] == "quit":
		return true
	case len(f) == 0:
	default:
		if it := parseLine(f); it != nil {
			l.items = append(l.items, it)
		} else {
			l.ignored(1)
		}
	}
	return false
}

func (l *lines) ignored(n int) { l.t.ignoredLines.Add(n) }

// flush brings the gathered points to where they go. A point that nobody can keep is
// counted by its destination, since there is nobody to tell.
func (l *lines) flush() {
	if len(l.items) == 0 {
		return
	}
	t := l.t
	// What was read is taken even when transfer stops meanwhile: the writer can not know.
	resp, err := t.wait(context.Background(), l.items)
	if err == nil {
		t.socketRecv.Add(resp.Total - resp.Invalid)
	} else if t.socketQuiet(t.now()) {
		t.log.Warn("points of the line protocol are lost: nobody can keep them", "n", len(l.items), "err", err)
	}
	clear(l.items)
	l.items = l.items[:0]
}

// socketQuiet reports whether losses may be logged again.
func (t *Transfer) socketQuiet(now time.Time) bool {
	last := t.socketLogged.Load()
	return now.Unix()-last >= int64(socketQuiet/time.Second) && t.socketLogged.CompareAndSwap(last, now.Unix())
}

// parseLine returns the point of
//
//	update endpoint metric timestamp value [type] [step | heartbeat:min:max:step]
//
// or nil when the fields say something else (contract ingest 5.3). The metric is
// taken as it stands: there are no tags.
func parseLine(f []string) *item {
	if f[0] != "update" || len(f) < 5 || len(f) > 7 {
		return nil
	}
	it := &item{Endpoint: f[1], Metric: f[2], Type: model.Counter, Step: 60}
	var err error
	if it.Timestamp, err = strconv.ParseInt(f[3], 10, 64); err != nil {
		return nil
	}
	value, err := strconv.ParseFloat(f[4], 64)
	if err != nil {
		return nil
	}
	it.Value = value
	if len(f) > 5 {
		it.Type = f[5]
	}
	if len(f) > 6 {
		part := strings.Split(f[6], ":")
		if len(part) != 1 && len(part) != 4 {
			return nil
		}
		if it.Step, err = strconv.ParseInt(part[len(part)-1], 10, 64); err != nil {
			return nil
		}
	}
	return it
}
