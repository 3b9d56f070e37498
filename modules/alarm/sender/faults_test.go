package sender_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// A redirect turns a POST into a GET: nobody was told.
func TestRedirect(t *testing.T) {
	var gets atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			gets.Add(1)
			return
		}
		http.Redirect(w, r, "/login", http.StatusFound)
	}))
	defer srv.Close()
	for _, typ := range []string{"webhook", "sms"} {
		if answer, err := open(t, typ, map[string]any{"url": srv.URL}).Send(t.Context(), message); err == nil {
			t.Errorf("%s: sent, %q, by %d GETs of a login page", typ, answer, gets.Load())
		}
	}
}

// The token in the address of a robot is not for those who read answers and logs.
func TestSecretInAnswer(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }))
	for range 2 {
		_, err := open(t, "webhook", map[string]any{"url": srv.URL + "/robot?access_token=s3cret"}).Send(t.Context(), message)
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v", err)
		}
		srv.Close() // and refused
	}
}

// A server that took the mail and ends the conversation by itself has taken it.
func TestMailServerHangsUp(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				say := func(s string) { fmt.Fprintf(c, "%s\r\n", s) }
				say("220 hi")
				data := false
				for in := bufio.NewScanner(c); in.Scan(); {
					switch l := in.Text(); {
					case data && l == ".":
						say("250 queued as 7")
						data = false
						return // instead of waiting for QUIT
					case data:
					case strings.HasPrefix(l, "DATA"):
						say("354 go")
						data = true
					default:
						say("250 ok")
					}
				}
			}()
		}
	}()
	s := open(t, "mail", map[string]any{"server": ln.Addr().String(), "from": "f@example.com"})
	if answer, err := s.Send(t.Context(), message); err != nil {
		t.Errorf("answer %q, and yet %v: the mail is sent three times", answer, err)
	}
}
