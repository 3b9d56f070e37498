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
	// Nodes are nodes of a Redis Cluster, [password@]host:port each, from which the
	// others are learnt. When there are any, Addr and DSN give no more than the password.
	Nodes []conf.DSN `json:"redis_cluster_nodes,omitempty"`
}

// DefaultConfig returns a Redis on this machine.
func DefaultConfig() Config {
	five := conf.Millis(5 * time.Second)
	return Config{Addr: "127.0.0.1:6379", MaxIdle: 5, ConnTimeout: five, ReadTimeout: five, WriteTimeout: five}
}

// Validate reports what can not work, by key.
func (c *Config) Validate() error {
	var errs []error
	if _, addr, network := c.where(); network == "tcp" && len(c.Nodes) == 0 {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			errs = append(errs, fmt.Errorf("addr: %q is no address, write host:port, password@host:port or unix:/path", addr))
		}
	}
	for _, n := range c.Nodes {
		if _, addr, network := split(n.Reveal()); network != "tcp" {
			errs = append(errs, fmt.Errorf("redis_cluster_nodes: nodes send clients to each other's ports, %q has none: write host:port", addr))
		} else if _, _, err := net.SplitHostPort(addr); err != nil {
			errs = append(errs, fmt.Errorf("redis_cluster_nodes: %q is no address, write host:port or password@host:port", addr))
		}
	}
	if c.MaxIdle < 0 || c.ConnTimeout <= 0 || c.ReadTimeout <= 0 || c.WriteTimeout <= 0 {
		errs = append(errs, errors.New("maxIdle must not be negative, connTimeout, readTimeout and writeTimeout must be greater than zero"))
	}
	return errors.Join(errs...)
}

// where returns where the single Redis is.
func (c *Config) where() (password, addr, network string) {
	return split(cmp.Or(c.DSN, c.Addr).Reveal())
}

// split takes an address apart.
func split(addr string) (password, rest, network string) {
	if i := strings.LastIndexByte(addr, '@'); i >= 0 {
		password, addr = addr[:i], addr[i+1:]
	}
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		return password, path, "unix"
	}
	return password, addr, "tcp"
}
