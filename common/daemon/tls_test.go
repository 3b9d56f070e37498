package daemon

import (
	"crypto/tls"
	"io"
	"strings"
	"testing"

	"falcon/common/testkit"
)

// Two lines make a listener speak TLS, and two its client.
func TestTwoLinesAreTLS(t *testing.T) {
	cert, key := testkit.SelfSigned(t)
	l := Listener{Enabled: true, Listen: "127.0.0.1:0", Cert: cert, Key: key}
	ln, err := l.Open("rpc")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.Copy(c, c)
	}()
	conf, err := (&ClientTLS{Enabled: true, CA: cert}).Config("graph")
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.Dial("tcp", ln.Addr().String(), conf)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "ping"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "ping" {
		t.Errorf("echo %q, %v", b, err)
	}
}

func TestTLSErrorsNameTheKey(t *testing.T) {
	cert, _ := testkit.SelfSigned(t)
	for _, tc := range []struct {
		name string
		err  func() error
		want string
	}{
		{"a key is missing", func() error { return (&Listener{Enabled: true, Listen: ":1", Cert: cert}).Validate("rpc") }, "rpc.tls_cert: tls_cert and tls_key belong together"},
		{"no address", func() error { return (&Listener{Enabled: true, Listen: "6060"}).Validate("http") }, `http.listen: "6060" is no address`},
		{"no file", func() error {
			_, err := (&Listener{Enabled: true, Listen: "127.0.0.1:0", Cert: "none.pem", Key: "none.pem"}).Open("rpc")
			return err
		}, "rpc.tls_cert: open none.pem"},
		{"no certificate in it", func() error { _, err := (&ClientTLS{Enabled: true, CA: "tls.go"}).Config("graph"); return err }, "graph.tls.ca: tls.go holds no certificate"},
	} {
		if err := tc.err(); err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %s", tc.name, err, tc.want)
		}
	}
	if ln, err := (&Listener{}).Open("rpc"); ln != nil || err != nil {
		t.Errorf("a listener that is off opens %v, %v", ln, err)
	}
	if conf, err := (&ClientTLS{CA: "none.pem"}).Config("graph"); conf != nil || err != nil {
		t.Errorf("a client without TLS gets %v, %v", conf, err)
	}
}
