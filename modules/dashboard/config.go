package dashboard

import (
	"errors"
	"fmt"
	"net"
	"net/url"

	"falcon/common/conf"
	"falcon/common/daemon"
	"time"
)

// Config is the configuration of a dashboard that runs by itself.
type Config struct {
	daemon.Base

	// Listen is the address of HTTP.
	Listen string `json:"listen"`
	// API is where api is: http://host:port, without a path.
	API string `json:"api"`
	// Timeout is how long api may take before it begins to answer. It must be
	// longer than api's own request_timeout.
	Timeout conf.Duration `json:"timeout"`
}

// DefaultConfig listens on 8082 for every host and expects api on this one.
func DefaultConfig() Config {
	return Config{
		Base:    daemon.DefaultBase(),
		Listen:  "0.0.0.0:8082",
		API:     "http://127.0.0.1:8080",
		Timeout: conf.Duration(70 * time.Second),
	}
}

// Validate reports everything that can not work.
func (c *Config) Validate() error {
	errs := []error{c.Base.Validate()}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		errs = append(errs, fmt.Errorf(`listen: %q is no address, write ":8082" or "host:8082"`, c.Listen))
	}
	if _, err := c.api(); err != nil {
		errs = append(errs, err)
	}
	if c.Timeout.D() <= 0 {
		errs = append(errs, errors.New(`timeout: nothing is answered in no time, write "70s"`))
	}
	return errors.Join(errs...)
}

// api returns the address of api.
func (c *Config) api() (*url.URL, error) {
	u, err := url.Parse(c.API)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf(`api: %q is no address of an api, write "http://host:8080"`, c.API)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}
