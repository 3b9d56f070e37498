package daemon

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// selfSigned writes a certificate for 127.0.0.1 and its key.
func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "falcon test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &priv.PublicKey, priv)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
}

// Two lines make a listener speak TLS, and two its client.
func TestTwoLinesAreTLS(t *testing.T) {
	cert, key := selfSigned(t)
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
	cert, _ := selfSigned(t)
	for _, tc := range []struct {
		name string
		err  func() error
		want string
	}{
		{"a key is missing", func() error { return (&Listener{Enabled: true, Listen: ":1", Cert: cert}).Validate("rpc") }, "rpc: tls_cert and tls_key belong together"},
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
