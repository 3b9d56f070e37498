package rpc

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"falcon/common/model"
)

// writes is halfClosed that remembers each write.
type writes struct {
	halfClosed
	mu  sync.Mutex
	got []string
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.got = append(w.got, string(p))
	return len(p), nil
}

// answers returns what s writes, write by write, when in arrives at once and the
// peer then closes its side.
func answers(t *testing.T, s *Server, in string) []string {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	w := &writes{halfClosed: halfClosed{Conn: theirs, in: strings.NewReader(in)}}
	var wg sync.WaitGroup
	s.ServeConn(t.Context(), w, &wg)
	wg.Wait()
	return w.got
}

func quickServer(opts ServerOptions) *Server {
	s := NewServer(opts)
	echo := func(_ context.Context, _ *Conn, q *model.GraphLastParam) (*model.GraphLastParam, error) {
		if q.Endpoint == "panic" {
			panic("a bug")
		}
		return q, nil
	}
	HandleQuick(s, "T.Quick", func(q *model.GraphLastParam) bool {
		if q.Endpoint == "bug" {
			panic("a bug of quick")
		}
		return q.Endpoint != "slow"
	}, echo)
	HandleOrdered(s, "T.Ordered", echo)
	return s
}

func request(method, endpoint string, id int) string {
	return fmt.Sprintf(`{"method":"%s","params":[{"endpoint":"%s","counter":""}],"id":%d}`, method, endpoint, id)
}

func reply(endpoint string, id int) string {
	return fmt.Sprintf(`{"id":%d,"result":{"endpoint":"%s","counter":""},"error":null}`+"\n", id, endpoint)
}

func TestQuickAnswersLeaveTogether(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   string
		want []string
	}{
		{"one", request("T.Quick", "a", 1), []string{reply("a", 1)}},
		{"three", request("T.Quick", "a", 1) + request("T.Quick", "b", 2) + request("T.Quick", "c", 3),
			[]string{reply("a", 1) + reply("b", 2) + reply("c", 3)}},
		{"before what takes time", request("T.Quick", "a", 1) + request("T.Quick", "b", 2) + request("T.Ordered", "c", 3) + request("T.Quick", "d", 4),
			[]string{reply("a", 1) + reply("b", 2), reply("c", 3), reply("d", 4)}},
		{"a panic is an answer", request("T.Quick", "panic", 1) + request("T.Quick", "b", 2),
			[]string{`{"id":1,"result":null,"error":"internal error in T.Quick"}` + "\n" + reply("b", 2)}},
		{"a quick that panics is no yes", request("T.Quick", "bug", 1), []string{reply("bug", 1)}},
		{"slow", request("T.Quick", "slow", 1), []string{reply("slow", 1)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := answers(t, quickServer(ServerOptions{}), tc.in)
			if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", tc.want) {
				t.Errorf("writes\n got %q\nwant %q", got, tc.want)
			}
		})
	}
}

// More held answers than calls may be in flight, and more bytes than are held, do
// not wait for each other.
func TestQuickAnswersNeverWaitForASlot(t *testing.T) {
	var in, want strings.Builder
	for i := range 300 {
		name := strings.Repeat("x", 1000)
		in.WriteString(request("T.Quick", name, i))
		want.WriteString(reply(name, i))
	}
	got := answers(t, quickServer(ServerOptions{MaxInFlight: 3}), in.String())
	if all := strings.Join(got, ""); all != want.String() {
		t.Errorf("%d bytes of answers in %d writes, want %d", len(all), len(got), want.Len())
	}
}

// The same calls in msgpack, whose answers are written in memory that is used again.
func TestQuickAnswersInMsgpack(t *testing.T) {
	for _, codec := range []Codec{Msgpack, GoRPC} {
		t.Run(codec.String(), func(t *testing.T) {
			c := NewClient(ClientOptions{Addr: listen(t, quickServer(ServerOptions{})), Codec: codec, MaxConns: 1})
			defer c.Close()
			var wg sync.WaitGroup
			for i := range 64 {
				wg.Go(func() {
					q := &model.GraphLastParam{Endpoint: []string{"host", "slow"}[i%2], Counter: strings.Repeat("c", 20*i)}
					var got model.GraphLastParam
					if err := c.Call(t.Context(), "T.Quick", q, &got); err != nil || got != *q {
						t.Errorf("Call(%d bytes of counter) = %d bytes, %v", len(q.Counter), len(got.Counter), err)
					}
				})
			}
			wg.Wait()
		})
	}
}

// A peer that stops in the middle of a request has the answers before it.
func TestQuickAnswersBeforeATornRequest(t *testing.T) {
	ours, theirs := net.Pipe()
	var wg sync.WaitGroup
	quickServer(ServerOptions{}).ServeConn(t.Context(), theirs, &wg)
	go func() { _, _ = io.WriteString(ours, request("T.Quick", "a", 1)+`{"method":`) }()
	got := make([]byte, len(reply("a", 1)))
	if _, err := io.ReadFull(ours, got); err != nil || !bytes.Equal(got, []byte(reply("a", 1))) {
		t.Errorf("answer %q, %v", got, err)
	}
	_ = ours.Close()
	wg.Wait()
}
