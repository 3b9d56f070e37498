package testkit

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// A Line leads to a server, until it is cut. Its address is on the loopback.
type Line struct {
	Addr string

	mu   sync.Mutex
	cut  bool
	open map[*lineConn]bool
	made int // connections that were made so far
}

// A lineConn is a connection of a line, from who dialled it to the server.
type lineConn struct {
	client, server net.Conn
	dead           atomic.Bool // what is sent arrives nowhere
}

// NewLine makes a line to what listens at to, until the test ends.
func NewLine(t testing.TB, network, to string) *Line {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &Line{Addr: ln.Addr().String(), open: map[*lineConn]bool{}}
	t.Cleanup(func() {
		ln.Close()
		l.Cut(true)
	})
	go func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial(network, to)
			if err != nil {
				client.Close()
				continue
			}
			l.add(&lineConn{client: client, server: server})
		}
	}()
	return l
}

func (l *Line) add(c *lineConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		c.close()
		return
	}
	l.open[c] = true
	l.made++
	for _, p := range [][2]net.Conn{{c.client, c.server}, {c.server, c.client}} {
		go func() {
			if c.carry(p[0], p[1]) {
				c.close()
				l.mu.Lock()
				defer l.mu.Unlock()
				delete(l.open, c)
			}
		}()
	}
}

// carry writes to one what it reads of another, until one of them ends; false says that the
// connection is dead, so that neither hears of it.
func (c *lineConn) carry(to, from net.Conn) bool {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if c.dead.Load() {
			return false
		}
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return true
		}
	}
}

func (c *lineConn) close() {
	c.client.Close()
	c.server.Close()
}

// Cut cuts the line, or mends it.
func (l *Line) Cut(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	for c := range l.open {
		c.close()
	}
	clear(l.open)
}

// Die has the connections that are open carry nothing any more, with nobody told: each end
// finds that the machine of the other is gone. New ones are good. It returns how many were
// made before.
func (l *Line) Die() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		c.dead.Store(true)
		for _, end := range []net.Conn{c.client, c.server} {
			if tcp, ok := end.(*net.TCPConn); ok {
				_ = Deafen(tcp) // it may be closed already
			}
		}
	}
	return l.made
}

// Dials says how many connections were made.
func (l *Line) Dials() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.made
}
