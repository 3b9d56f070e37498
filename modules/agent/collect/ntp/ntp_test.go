package ntp

import (
	"encoding/binary"
	"errors"
	"math"
	"net"
	"testing"
	"time"

	"falcon/modules/agent/collect"
)

// A server whose clock is behind ours by a second makes ours ahead: the offset is
// positive. It is asked over a real socket.
func TestServer(t *testing.T) {
	addr := server(t, -time.Second)
	items, err := New([]string{addr}).Collect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(items) != 1 || items[0].Metric != "sys.ntp.offset" || math.Abs(items[0].Value-1000) > 100 {
		t.Errorf("got %v, want sys.ntp.offset of about 1000", items)
	}
}

// server is an NTP server whose clock differs from ours by off.
func server(t *testing.T, off time.Duration) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	go func() {
		b := make([]byte, 512)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			if n < 48 {
				continue
			}
			stamp := func(at []byte) { // RFC 5905: seconds since 1900 and their 2^32nd parts
				now := time.Now().Add(off)
				binary.BigEndian.PutUint32(at, uint32(now.Unix()+2208988800))
				binary.BigEndian.PutUint32(at[4:], uint32(uint64(now.Nanosecond())<<32/1e9))
			}
			r := make([]byte, 48)
			r[0], r[1], r[2], r[3] = 4<<3|4, 2, 6, 0xec // version 4, server, stratum 2
			copy(r[12:], "TEST")
			stamp(r[16:])
			copy(r[24:32], b[40:48]) // what we call our time
			stamp(r[32:])
			stamp(r[40:])
			if _, err := c.WriteTo(r, from); err != nil {
				return
			}
		}
	}()
	return c.LocalAddr().String()
}

// The next server is asked when one fails; when all do the error names each. Without
// servers the kernel is asked, and a clock that nobody keeps gives nothing.
func TestWhomIsAsked(t *testing.T) {
	c := New([]string{"a", "b"})
	c.query = func(s string, _ time.Duration) (time.Duration, error) {
		if s == "a" {
			return 0, errors.New("no answer")
		}
		return -2500 * time.Microsecond, nil
	}
	wants(t, c, -2.5)
	c.query = func(string, time.Duration) (time.Duration, error) { return 0, errors.New("no answer") }
	if _, err := c.Collect(t.Context()); err == nil || err.Error() != "ask NTP server a: no answer\nask NTP server b: no answer" {
		t.Errorf("with none that answers: %v", err)
	}
	c = New(nil)
	synchronised := true
	c.kernel = func() (time.Duration, bool, error) { return 3 * time.Millisecond, synchronised, nil }
	wants(t, c, 3)
	synchronised = false
	if items, err := c.Collect(t.Context()); err != nil || len(items) != 0 {
		t.Errorf("of a clock that nobody keeps: %v, %v", items, err)
	}
	if _, _, err := kernel(); err != nil { // the real one, whatever it says
		t.Error(err)
	}
}

func wants(t *testing.T, c collect.Collector, want float64) {
	t.Helper()
	items, err := c.Collect(t.Context())
	if err != nil || len(items) != 1 || items[0].Value != want {
		t.Errorf("got %v, %v, want %v", items, err, want)
	}
}
