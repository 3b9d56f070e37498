package api

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"falcon/common/httpx"
	"falcon/common/redisx"
	"falcon/common/run"
	v1 "falcon/modules/api/v1"
)

// rulesNotice tells hbs that the rules have changed. A Redis that is away delays it:
// the change is saved, and hbs looks by itself each minute.
type rulesNotice struct {
	pool *redisx.Pool
	log  *slog.Logger
	wake chan struct{}
}

func newRulesNotice(pool *redisx.Pool, log *slog.Logger) *rulesNotice {
	return &rulesNotice{pool, log, make(chan struct{}, 1)}
}

// Changed lets Run tell hbs. Changes that come together are told once.
func (n *rulesNotice) Changed() {
	select {
	case n.wake <- struct{}{}:
	default: // Run is about to tell anyway
	}
}

// Run tells hbs of changes until ctx ends, and of one that is left then.
func (n *rulesNotice) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			select {
			case <-n.wake:
				last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
				defer cancel()
				if err := n.tell(last); err != nil {
					n.log.Warn("hbs is not told of the last change of the rules, it sees it within a minute", "err", err)
				}
			default:
			}
			return nil
		case <-n.wake:
			n.untilTold(ctx)
		}
	}
}

// untilTold tries until Redis has taken it.
func (n *rulesNotice) untilTold(ctx context.Context) {
	pause := time.Second
	for try := 0; ; try++ {
		c, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := n.tell(c)
		cancel()
		if err == nil {
			if try > 0 {
				n.log.Info("hbs is told again of changes of the rules")
			}
			return
		}
		if try == 0 && ctx.Err() == nil {
			n.log.Warn("hbs is not told of a change of the rules, it sees it within a minute", "err", err)
		}
		if !run.Sleep(ctx, pause) {
			n.Changed() // for the last try
			return
		}
		pause = min(2*pause, 30*time.Second)
	}
}

func (n *rulesNotice) tell(ctx context.Context) error {
	return n.pool.RulesChanged(ctx, "api")
}

// liveness reads the heartbeats that hbs has written.
type liveness struct{ pool *redisx.Pool }

// LastSeen returns the Unix times of the last heartbeats of hosts.
func (l liveness) LastSeen(ctx context.Context, hosts []string) (map[string]int64, error) {
	args := make([]any, 1, 1+len(hosts))
	args[0] = redisx.Heartbeats
	for _, h := range hosts {
		args = append(args, h)
	}
	values, err := redisx.Strings(l.pool.Do(ctx, "HMGET", args...))
	if err != nil {
		return nil, err
	}
	seen := map[string]int64{}
	for i, text := range values {
		if at, err := strconv.ParseInt(text, 10, 64); err == nil && i < len(hosts) {
			seen[hosts[i]] = at
		}
	}
	return seen, nil
}

// peer is another daemon's HTTP.
type peer struct {
	base   string
	client *httpx.Client
}

// newPeer returns the daemon at an address, nil for none. It is asked once: a person
// waits for the answer. token, when set, is what the daemon knows api by.
func newPeer(addr, token string) v1.Peer {
	if addr == "" {
		return nil
	}
	header := http.Header{}
	if token != "" {
		header.Set("Apitoken", fmt.Sprintf(`{"name":"api","sig":%q}`, token))
	}
	return &peer{strings.TrimRight(addr, "/"), httpx.NewClient(httpx.Options{Header: header, Tries: 1, Timeout: 25 * time.Second, MaxBody: 64 << 20})}
}

// Get asks for a page.
func (p *peer) Get(ctx context.Context, path string) ([]byte, error) {
	return p.client.Do(ctx, http.MethodGet, p.base+path, nil)
}

// Post sends JSON.
func (p *peer) Post(ctx context.Context, path string, body []byte) ([]byte, error) {
	return p.client.Do(ctx, http.MethodPost, p.base+path, body)
}

// Delete asks for something to be removed.
func (p *peer) Delete(ctx context.Context, path string) ([]byte, error) {
	return p.client.Do(ctx, http.MethodDelete, p.base+path, nil)
}

// flow is the order in which points and events pass through the daemons.
var flow = []string{"agent", "gateway", "transfer", "graph", "judge", "plus_judge", "hbs", "alarm", "nodata", "poly_metric", "dashboard", "api"}

// watched returns whom Home asks, in the order of flow, others behind them.
func (f *Fleet) watched(health func() error) v1.Fleet {
	client := httpx.NewClient(httpx.Options{Tries: 1, Timeout: f.Timeout.D(), ConnectTimeout: f.Timeout.D(), MaxBody: 1 << 20})
	names := slices.SortedFunc(maps.Keys(f.Daemons), func(a, b string) int {
		place := func(name string) int {
			if i := slices.Index(flow, name); i >= 0 {
				return i
			}
			return len(flow)
		}
		return cmp.Or(cmp.Compare(place(a), place(b)), strings.Compare(a, b))
	})
	w := v1.Fleet{Timeout: f.Timeout.D(), Health: health}
	for _, name := range names {
		for _, addr := range f.Daemons[name] {
			base := strings.TrimRight(addr, "/")
			_, short, _ := strings.Cut(base, "://")
			w.Daemons = append(w.Daemons, v1.Watched{Name: name, Addr: short, Peer: &peer{base, client}})
		}
	}
	return w
}
