package rpc

import (
	"context"
	"net"
	"strings"
	"testing"

	"falcon/common/model"
)

// protectedServer listens on an address that is this machine's, and takes itself for
// reached from elsewhere when far is set.
func protectedServer(t *testing.T, key string, far bool) string {
	t.Helper()
	s := pingServer()
	Handle(s, "T.Harm", func(context.Context, *Conn, *model.NullRpcRequest) (*model.SimpleRpcResponse, error) {
		return &model.SimpleRpcResponse{Code: 7}, nil
	})
	Protect(s, key, "T.Harm")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if far {
		ln = farListener{ln}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	t.Cleanup(func() { cancel(); <-done })
	return ln.Addr().String()
}

type farListener struct{ net.Listener }

func (l farListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return farConn{c}, err
}

type farConn struct{ net.Conn }

func (farConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 9), Port: 1} }

// A protected method is for who has the key, in every codec; others are for all. Without
// a key it is for this machine.
func TestProtect(t *testing.T) {
	for _, tc := range []struct {
		name, server, client string
		far                  bool
		want                 string // in the error; empty: it is called
	}{
		{"the key", "k", "k", true, ""},
		{"another key", "k", "x", true, "the fleet keys differ"},
		{"none, from far", "k", "", true, "needs the fleet key"},
		{"none, from here", "k", "", false, "needs the fleet key"},
		{"no key is set, from far", "", "", true, "same machine"},
		{"no key is set, from here", "", "", false, ""},
		{"no key is set, and one is shown", "", "k", true, "the fleet keys differ"},
	} {
		addr := protectedServer(t, tc.server, tc.far)
		for _, codec := range []Codec{JSON, Gob, Msgpack, GoRPC, Auto} {
			c := NewClient(ClientOptions{Addr: addr, Codec: codec, Key: tc.client})
			var r model.SimpleRpcResponse
			err := c.Call(t.Context(), "T.Harm", &model.NullRpcRequest{}, &r)
			if tc.want == "" && (err != nil || r.Code != 7) || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%s, %v: %v, want %q", tc.name, codec, err, tc.want)
			}
			if tc.client == "" {
				if err := c.Call(t.Context(), "T.Ping", &model.NullRpcRequest{}, nil); err != nil {
					t.Errorf("%s, %v: what is not protected answers %v", tc.name, codec, err)
				}
			}
			c.Close()
		}
	}
}

// An answer is good once, and for its own nonce only.
func TestAHelloIsGoodOnce(t *testing.T) {
	addr := protectedServer(t, "k", true)
	c, err := Dial(t.Context(), ClientOptions{Addr: addr, Codec: JSON})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, mac := range []string{"00", "zz", strings.Repeat("0", 64)} {
		if err := c.Call(t.Context(), helloMethod, &hello{mac}, nil); err == nil {
			t.Errorf("the answer %q without a question is taken", mac)
		}
	}
	if err := c.show(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	other, err := Dial(t.Context(), ClientOptions{Addr: addr, Codec: JSON})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.Call(t.Context(), "T.Harm", &model.NullRpcRequest{}, nil); err == nil {
		t.Error("another connection is trusted, too")
	}
}

// A peer that knows nothing of keys is called all the same: it is stock, or older.
func TestAKeyForAStockPeer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- pingServer().Serve(ctx, ln) }()
	t.Cleanup(func() { cancel(); <-done })
	c := NewClient(ClientOptions{Addr: ln.Addr().String(), Codec: JSON, Key: "k"})
	defer c.Close()
	if err := c.Call(t.Context(), "T.Ping", &model.NullRpcRequest{}, nil); err != nil {
		t.Error(err)
	}
}
