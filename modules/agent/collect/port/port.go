// Package port collects net.port.listen: whether somebody listens on a port that a rule
// watches.
package port

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"falcon/modules/agent/collect"
)

// Collector looks into the kernel's tables of sockets, of IPv4 and IPv6.
type Collector struct {
	root  collect.Root
	wants collect.Wants[int64]
}

// New returns a collector.
func New(root collect.Root) *Collector { return &Collector{root: root} }

// Want takes tags of one pair, port=N.
func (c *Collector) Want(tags []string) []collect.Unwanted {
	return c.wants.Set(tags, parse, func(n int64) string { return strconv.FormatInt(n, 10) })
}

// parse, as stock, takes any key.
func parse(tags string) (int64, string) {
	_, v, ok := strings.Cut(tags, "=")
	if !ok || strings.Contains(v, "=") {
		return 0, "it is not one pair, such as port=80"
	}
	n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
	if err != nil {
		return 0, "the port is no number"
	}
	return n, ""
}

// The tables, and the state that counts in them; "" for any: a socket of UDP has none
// that says that it waits for a peer.
var tables = []struct{ file, state string }{
	{"proc/net/tcp", "0A"}, {"proc/net/tcp6", "0A"}, {"proc/net/udp", ""}, {"proc/net/udp6", ""},
}

// Collect returns net.port.listen, 1 or 0, for each port. A line that can not be read
// costs only itself. While a whole table can not be read, ports that the others do not
// have are left out: nobody knows whether they are listened on.
func (c *Collector) Collect(ctx context.Context) ([]collect.Item, error) {
	ports := c.wants.Get()
	if len(ports) == 0 {
		return nil, nil
	}
	open := map[int64]bool{}
	var errs []error
	whole, found := true, false
	for _, t := range tables {
		bad, err := c.read(ctx, t.file, t.state, open)
		switch {
		case errors.Is(err, fs.ErrNotExist): // a host without IPv6 has half of them
			continue
		case err != nil:
			whole = false
			errs = append(errs, err)
		case bad > 0:
			errs = append(errs, fmt.Errorf("%d lines of %s can not be read", bad, c.root.Path(t.file)))
		}
		found = true
	}
	if !found {
		return nil, fmt.Errorf("none of the tables %s is there", c.root.Path("proc/net/{tcp,tcp6,udp,udp6}"))
	}
	var items []collect.Item
	for _, p := range ports {
		v := 0.0
		switch {
		case open[p]:
			v = 1
		case !whole:
			continue
		}
		items = append(items, collect.G("net.port.listen", v, "port", strconv.FormatInt(p, 10)))
	}
	return items, errors.Join(errs...)
}

// maxLine is more than a line of the tables has.
const maxLine = 4096

// read notes the local ports of a table, and returns how many of its lines say nothing.
func (c *Collector) read(ctx context.Context, file, state string, open map[int64]bool) (bad int, err error) {
	f, err := os.Open(c.root.Path(file))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	// By lines of any length: a table of a million sockets is never whole in memory.
	r := bufio.NewReaderSize(f, maxLine)
	for n := 0; ; n++ {
		line, cut, err := r.ReadLine()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return bad, err
		}
		long := cut
		for cut && err == nil {
			_, cut, err = r.ReadLine()
		}
		if n%4096 == 4095 && ctx.Err() != nil {
			return bad, fmt.Errorf("%s: %w", c.root.Path(file), ctx.Err())
		}
		if n == 0 && strings.Contains(string(line), "local_address") {
			continue
		}
		p, st, ok := local(string(line))
		switch {
		case long || !ok:
			bad++
		case state == "" || st == state:
			open[p] = true
		}
	}
}

// local returns the local port and the state of a line: "0: 0100007F:1F90 00000000:0000
// 0A …".
func local(line string) (port int64, state string, ok bool) {
	rest := strings.TrimLeft(line, " ")
	var field [4]string
	for i := range field {
		field[i], rest, _ = strings.Cut(rest, " ")
		rest = strings.TrimLeft(rest, " ")
	}
	addr, hex, ok := strings.Cut(field[1], ":")
	n, err := strconv.ParseUint(hex, 16, 16)
	return int64(n), field[3], ok && err == nil && (len(addr) == 8 || len(addr) == 32) && len(field[3]) == 2
}
