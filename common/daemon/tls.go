package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
)

// Listener is where a server listens: stock's two keys, and two that make it speak
// TLS.
type Listener struct {
	Enabled bool   `json:"enabled"`
	Listen  string `json:"listen"`
	// Cert and Key are files in PEM form; both or none.
	Cert string `json:"tls_cert,omitempty"`
	Key  string `json:"tls_key,omitempty"`
}

// Validate reports what can not work; key is the section's name, empty when the
// keys stand at the top of the file.
func (l *Listener) Validate(key string) error {
	if !l.Enabled {
		return nil
	}
	if _, _, err := net.SplitHostPort(l.Listen); err != nil {
		return fmt.Errorf("%s: %q is no address, write \":6060\" or \"host:6060\"", below(key, "listen"), l.Listen)
	}
	if (l.Cert == "") != (l.Key == "") {
		return fmt.Errorf("%s: tls_cert and tls_key belong together, one of them is missing", below(key, "tls_cert"))
	}
	return nil
}

// Open listens; key is the section's name. It returns nil when the section is
// switched off.
func (l *Listener) Open(key string) (net.Listener, error) {
	if !l.Enabled {
		return nil, nil
	}
	var cert tls.Certificate
	if l.Cert != "" {
		var err error
		if cert, err = tls.LoadX509KeyPair(l.Cert, l.Key); err != nil {
			return nil, fmt.Errorf("%s: %w", below(key, "tls_cert"), err)
		}
	}
	ln, err := Listen(below(key, "listen"), l.Listen)
	if err != nil || l.Cert == "" {
		return ln, err
	}
	return tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}), nil
}

// below returns the full name of a key of a section.
func below(section, key string) string {
	if section == "" {
		return key
	}
	return section + "." + key
}

// ClientTLS makes the connections to a peer speak TLS.
type ClientTLS struct {
	Enabled bool `json:"enabled"`
	// CA is a file with the certificates, in PEM form, that may have signed the
	// peer's; empty takes those of the system.
	CA string `json:"ca,omitempty"`
}

// Config returns what a client dials with; nil when TLS is off. key is the
// section's name.
func (c *ClientTLS) Config(key string) (*tls.Config, error) {
	if !c.Enabled {
		return nil, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA == "" {
		return conf, nil
	}
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, fmt.Errorf("%s.tls.ca: %w", key, err)
	}
	conf.RootCAs = x509.NewCertPool()
	if !conf.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s.tls.ca: %w", key, errors.New(c.CA+" holds no certificate in PEM form"))
	}
	return conf, nil
}
