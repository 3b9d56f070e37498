package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"falcon/common/daemon"
	"falcon/modules/agent/collect"
)

// ruleIPN is the hostname_rule of the fork: a name of the kernel that has not the form
// n3-021-225 is replaced by one made of the address, here 10.3.21.225.
const ruleIPN = "ip-n"

// Endpoint returns the name under which an agent with cfg reports.
func Endpoint(cfg Config) (string, error) {
	return naming{&cfg, os.Getenv, os.Hostname, localIP}.endpoint()
}

// naming is what the name of this host comes from.
type naming struct {
	cfg    *Config
	getenv func(string) string
	kernel func() (string, error)
	// local returns the address from which this host reaches a peer.
	local func(peer string) (netip.Addr, error)
}

// endpoint finds the name under which this host reports (contract ingest 3.3): the
// configuration, the variable FALCON_ENDPOINT, the file HostnameFile when it has one, and
// last the name that the kernel has, by the rule HostnameRule. It is asked once, so that a
// host that is renamed by a slip of the finger keeps its series.
func (n naming) endpoint() (string, error) {
	name, configured, err := daemon.Hostname(n.cfg.Hostname, n.cfg.HostnameFile, n.getenv, n.kernel)
	if err != nil || configured {
		return name, err
	}
	if n.cfg.HostnameRule != ruleIPN || strings.HasPrefix(name, "n") && strings.Count(name, "-") == 2 {
		return name, nil
	}
	ip, err := n.ipv4()
	if err != nil {
		return "", fmt.Errorf(`hostname_rule %q makes the name of the address: %w; set "ip" or "hostname"`, ruleIPN, err)
	}
	b := ip.As4()
	return fmt.Sprintf("n%d-%03d-%03d", b[1], b[2], b[3]), nil
}

// ipv4 returns the address of this host among others.
func (n naming) ipv4() (netip.Addr, error) {
	if n.cfg.IP != "" {
		ip, err := netip.ParseAddr(n.cfg.IP)
		if err == nil && !ip.Unmap().Is4() {
			err = fmt.Errorf("ip: %s is not of IPv4", n.cfg.IP)
		}
		return ip.Unmap(), err
	}
	var errs []error
	for _, peer := range append(n.cfg.Heartbeat.addrs(), n.cfg.Transfer.Addrs...) {
		ip, err := n.local(peer)
		switch {
		case err != nil:
			errs = append(errs, err)
		case !ip.Is4() || ip.IsLoopback():
			errs = append(errs, fmt.Errorf("%s leads to %s", ip, peer))
		default:
			return ip, nil
		}
	}
	return netip.Addr{}, errors.Join(append(errs, errors.New("no address of IPv4 leads to hbs or a transfer"))...)
}

// localIP asks the system from which of its addresses a peer is reached. No packet is sent.
func localIP(peer string) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second) // names are resolved
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "udp", peer)
	if err != nil {
		return netip.Addr{}, err
	}
	defer c.Close()
	at, err := netip.ParseAddrPort(c.LocalAddr().String())
	return at.Addr().Unmap().WithZone(""), err
}

// A renaming notices that the kernel's name of this host is another one than at start.
// What is reported keeps its name; that of the kernel is told once.
type renaming struct {
	kernel  func() (string, error)
	first   string
	changed atomic.Pointer[string] // the new name; nil as long as there never was one
}

func newRenaming(kernel func() (string, error)) *renaming {
	first, _ := kernel() // without a name there is none to lose
	return &renaming{kernel: kernel, first: first}
}

// look returns the kernel's name when that is news.
func (r *renaming) look() (name string, news bool) {
	name, err := r.kernel()
	if err != nil {
		return "", false
	}
	was := r.first
	if p := r.changed.Load(); p != nil {
		was = *p
	}
	if name == was {
		return "", false
	}
	r.changed.Store(&name)
	return name, true
}

// items returns agent.hostname.changed once the name has changed: 1 while it differs.
func (r *renaming) items() []collect.Item {
	p := r.changed.Load()
	if p == nil {
		return nil
	}
	v := 0.0
	if *p != r.first {
		v = 1
	}
	return []collect.Item{collect.G("agent.hostname.changed", v)}
}

// note says in words that the name differs; "" while it does not.
func (r *renaming) note(endpoint string) string {
	p := r.changed.Load()
	if p == nil || *p == r.first {
		return ""
	}
	return fmt.Sprintf("the kernel's name of this host is %q and was %q at start; this agent reports as %q until it is restarted", *p, r.first, endpoint)
}
