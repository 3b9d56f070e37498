package rpc

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
)

// helloMethod is how a client shows that it knows the fleet key: it asks for a nonce, and
// answers with the nonce's HMAC. The key itself never travels. Who listens on the way can
// not use what he hears; who changes it on the way could, which is what TLS is for.
const helloMethod = "Auth.Hello"

// hello is both questions: without Mac it asks for a nonce.
type hello struct {
	Mac string `json:"mac"` // hex of HMAC-SHA256(key, nonce)
}

type helloReply struct {
	Nonce string `json:"nonce"` // hex; of the first question
}

type helloKey struct{} // of the nonce of a connection

type trustKey struct{} // of whether it has shown the key

// Protect keeps methods for those who know the fleet key. Without a key they are for
// callers of this machine. It must be called before Serve, and once.
func Protect(s *Server, key string, methods ...string) {
	HandleOrdered(s, helloMethod, func(_ context.Context, c *Conn, h *hello) (*helloReply, error) {
		if h.Mac == "" {
			nonce := make([]byte, 16)
			_, _ = rand.Read(nonce) // it does not fail
			c.SetValue(helloKey{}, nonce)
			return &helloReply{hex.EncodeToString(nonce)}, nil
		}
		nonce, _ := c.Value(helloKey{}).([]byte)
		c.SetValue(helloKey{}, nil) // a nonce is good for one answer
		mac, err := hex.DecodeString(h.Mac)
		if err != nil || nonce == nil || key == "" || !hmac.Equal(mac, macOf(key, nonce)) {
			return nil, errors.New("not allowed: the fleet keys differ (fleet_key)")
		}
		c.SetValue(trustKey{}, true)
		return &helloReply{}, nil
	})
	before := s.opts.Authorize
	s.opts.Authorize = func(method string, c *Conn) error {
		if before != nil {
			if err := before(method, c); err != nil {
				return err
			}
		}
		switch {
		case !slices.Contains(methods, method):
		case key == "" && !c.local():
			return fmt.Errorf("not allowed: %s is for callers of the same machine while no fleet_key is set", method)
		case key != "" && c.Value(trustKey{}) != true:
			return fmt.Errorf("not allowed: %s needs the fleet key (fleet_key)", method)
		}
		return nil
	}
}

func macOf(key string, nonce []byte) []byte {
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte("falcon hello\n"))
	m.Write(nonce)
	return m.Sum(nil)
}

// local says whether the peer is on this machine.
func (c *Conn) local() bool {
	switch a := c.nc.RemoteAddr().(type) {
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	}
	return false
}

// show shows the peer that we know the key. A peer that has no such method protects
// nothing.
func (c *ClientConn) show(ctx context.Context, key string) error {
	var r helloReply
	err := c.Call(ctx, helloMethod, &hello{}, &r)
	if err == nil {
		var nonce []byte
		if nonce, err = hex.DecodeString(r.Nonce); err == nil {
			err = c.Call(ctx, helloMethod, &hello{hex.EncodeToString(macOf(key, nonce))}, nil)
		}
	}
	if IsMethodMissing(err) {
		return nil
	}
	return err
}
