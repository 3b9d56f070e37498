package redisx

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"falcon/common/conf"
)

// Config says where Redis is. Keys of stock keep their names: judge has dsn and the
// timeouts, alarm and api have addr.
type Config struct {
	// Addr is [password@]host:port, or unix:/path of a socket. Everything before the
	// last @ is the password.
	Addr conf.DSN `json:"addr"`
	// DSN is stock judge's name of Addr.
	DSN conf.DSN `json:"dsn,omitempty"`
	// MaxIdle is how many connections are kept open unused.
	MaxIdle      int         `json:"maxIdle"`
	ConnTimeout  conf.Millis `json:"connTimeout"`
	ReadTimeout  conf.Millis `json:"readTimeout"`
	WriteTimeout conf.Millis `json:"writeTimeout"`
	// Nodes are the seeds of a Redis Cluster.
	Nodes []string `json:"redis_cluster_nodes,omitempty"`
}

// DefaultConfig returns a Redis on this machine.
func DefaultConfig() Config {
	five := conf.Millis(5 * time.Second)
	return Config{Addr: "127.0.0.1:6379", MaxIdle: 5, ConnTimeout: five, ReadTimeout: five, WriteTimeout: five}
}

// Validate reports what can not work, by key.
func (c *Config) Validate() error {
	var errs []error
	if _, addr, network := c.where(); network == "tcp" {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			errs = append(errs, fmt.Errorf("addr: %q is no address, write host:port, password@host:port or unix:/path", addr))
		}
	}
	if len(c.Nodes) > 0 {
		errs = append(errs, errors.New("redis_cluster_nodes: this release speaks to a single Redis, write its address into addr"))
	}
	if c.MaxIdle < 0 || c.ConnTimeout <= 0 || c.ReadTimeout <= 0 || c.WriteTimeout <= 0 {
		errs = append(errs, errors.New("maxIdle must not be negative, connTimeout, readTimeout and writeTimeout must be greater than zero"))
	}
	return errors.Join(errs...)
}

// where splits the address.
func (c *Config) where() (password, addr, network string) {
	addr = cmp.Or(c.DSN, c.Addr).Reveal()
	if i := strings.LastIndexByte(addr, '@'); i >= 0 {
		password, addr = addr[:i], addr[i+1:]
	}
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		return password, path, "unix"
	}
	return password, addr, "tcp"
}
