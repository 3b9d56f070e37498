// Package sendertest has the far ends of senders for tests: a mail server and a sink
// for what is POSTed.
package sendertest

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"strings"
	"sync"
	"testing"

	"falcon/common/testkit"
)

// Mail is a mail that a server took.
type Mail struct {
	From    string
	To      []string
	Subject string
	Body    string
	ID      string
	TLS     bool
	User    string // who logged in
}

// A MailServer takes mails.
type MailServer struct {
	Addr string
	tls  *tls.Config
	mode string

	mu     sync.Mutex
	mails  []Mail
	refuse int
}

// SMTP starts a mail server whose TLS is none, starttls or tls. With TLS it wants the
// user falcon with the password secret.
func SMTP(t testing.TB, mode string) *MailServer {
	t.Helper()
	s := &MailServer{mode: mode}
	if mode != "none" {
		cert, err := tls.LoadX509KeyPair(testkit.SelfSigned(t))
		if err != nil {
			t.Fatal(err)
		}
		s.tls = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Addr = ln.Addr().String()
	if mode == "tls" {
		ln = tls.NewListener(ln, s.tls)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				s.talk(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close() // conversations end with their clients
		wg.Wait()
	})
	return s
}

// Refuse makes the server refuse the next n mails.
func (s *MailServer) Refuse(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = n
}

// Mails returns the mails taken so far.
func (s *MailServer) Mails() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Mail(nil), s.mails...)
}

func (s *MailServer) talk(c net.Conn) {
	r := bufio.NewReader(c)
	secure := s.mode == "tls"
	say := func(format string, args ...any) { fmt.Fprintf(c, format+"\r\n", args...) }
	m := Mail{}
	user := ""
	say("220 test ESMTP")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, arg, _ := strings.Cut(line, " ")
		switch strings.ToUpper(verb) {
		case "EHLO", "HELO":
			say("250-test")
			if s.mode == "starttls" && !secure {
				say("250-STARTTLS")
			}
			if secure {
				say("250-AUTH PLAIN")
			}
			say("250 8BITMIME")
		case "STARTTLS":
			say("220 go ahead")
			tc := tls.Server(c, s.tls)
			if tc.Handshake() != nil {
				return
			}
			c, r, secure = tc, bufio.NewReader(tc), true
		case "AUTH":
			raw, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(arg, "PLAIN "))
			if parts := strings.Split(string(raw), "\x00"); len(parts) != 3 || parts[1] != "falcon" || parts[2] != "secret" {
				say("535 no")
				continue
			}
			user = "falcon"
			say("235 welcome")
		case "MAIL":
			if s.mode != "none" && user == "" {
				say("530 log in first")
				continue
			}
			m = Mail{From: address(arg), TLS: secure, User: user}
			say("250 ok")
		case "RCPT":
			if strings.Contains(arg, "nobody@") {
				say("550 no such user")
				continue
			}
			m.To = append(m.To, address(arg))
			say("250 ok")
		case "DATA":
			say("354 go on")
			var text strings.Builder
			for {
				l, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if l == ".\r\n" {
					break
				}
				text.WriteString(strings.TrimPrefix(l, "."))
			}
			if s.take(m, text.String()) {
				say("250 queued as 42")
			} else {
				say("451 try later")
			}
		case "RSET", "NOOP":
			say("250 ok")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("502 what?")
		}
	}
}

func (s *MailServer) take(m Mail, text string) bool {
	parsed, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		return false
	}
	m.Subject, _ = new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject"))
	m.ID = parsed.Header.Get("Message-Id")
	body := parsed.Body
	if parsed.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
		body = quotedprintable.NewReader(body)
	}
	b, err := io.ReadAll(body)
	if err != nil {
		return false
	}
	m.Body = string(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse > 0 {
		s.refuse--
		return false
	}
	s.mails = append(s.mails, m)
	return true
}

func address(arg string) string {
	_, rest, _ := strings.Cut(arg, "<")
	a, _, _ := strings.Cut(rest, ">")
	return a
}

// Post is a request that a sink took.
type Post struct {
	Path   string
	Header http.Header
	Form   map[string]string // of a form
	Query  map[string]string
	Body   string
}

// A Sink takes what is sent to it over HTTP.
type Sink struct {
	URL string

	mu     sync.Mutex
	posts  []Post
	refuse int
	hold   chan struct{}
}

// HTTP starts a sink.
func HTTP(t testing.TB) *Sink {
	t.Helper()
	s := &Sink{}
	srv := httptest.NewServer(s)
	s.URL = srv.URL
	t.Cleanup(func() {
		s.Release()
		srv.Close()
	})
	return s
}

// ServeHTTP notes the request.
func (s *Sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	p := Post{Path: r.URL.Path, Header: r.Header, Body: string(b), Form: map[string]string{}, Query: map[string]string{}}
	for k, v := range r.URL.Query() {
		p.Query[k] = v[0]
	}
	if r.Header.Get("Content-Type") == "application/x-www-form-urlencoded" {
		r.Body = io.NopCloser(strings.NewReader(p.Body))
		if r.ParseForm() == nil {
			for k, v := range r.PostForm {
				p.Form[k] = v[0]
			}
		}
	}
	s.mu.Lock()
	refused := s.refuse > 0
	if refused {
		s.refuse--
	} else {
		s.posts = append(s.posts, p)
	}
	hold := s.hold
	s.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if refused {
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, "ok") // a client that left is no failure
}

// Refuse makes the sink refuse the next n requests.
func (s *Sink) Refuse(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = n
}

// Hold makes requests wait until Release, and returns how many were taken before.
func (s *Sink) Hold() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold = make(chan struct{})
	return len(s.posts)
}

// Release ends Hold.
func (s *Sink) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hold != nil {
		close(s.hold)
		s.hold = nil
	}
}

// Posts returns what was taken so far on path; empty is any.
func (s *Sink) Posts(path string) []Post {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Post
	for _, p := range s.posts {
		if path == "" || p.Path == path {
			out = append(out, p)
		}
	}
	return out
}
