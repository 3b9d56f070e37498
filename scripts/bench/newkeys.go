package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"falcon/common/httpx"
	"falcon/common/model"
	"falcon/common/rpc"
)

const (
	newKeys      = 2_000_000 // of an endpoint and a metric
	newKeysIn    = time.Minute
	newKeyJudges = 4
	newKeyBatch  = 200
	newKeyEvery  = 10 // one counter of so many is watched
)

// keysSeen is what the four figures of contract alerting 9.5 are taken from: it is one
// minute, measured once.
type keysSeen struct {
	p99      time.Duration // of Judge.Send
	hbs      float64       // cores
	memory   float64       // GB, of the largest judge at its peak
	resolved time.Duration // from the last call until every watched key is kept
	said     string
}

var newKeysSeen *keysSeen

// newKeysAre returns one figure of the minute.
func newKeysAre(of func(*keysSeen) float64) func(context.Context, *bench) (float64, string, error) {
	return func(ctx context.Context, b *bench) (float64, string, error) {
		if newKeysSeen == nil {
			seen, err := newKeysMinute(ctx, b)
			if err != nil {
				return 0, "", err
			}
			newKeysSeen = seen
		}
		said := newKeysSeen.said
		newKeysSeen.said = "of the same minute"
		return of(newKeysSeen), said, nil
	}
}

// newKeysMinute starts an hbs on MariaDB and four judges that take their rules from it, and
// lets stock peers send each judge its share of two million keys that it never heard of.
func newKeysMinute(ctx context.Context, b *bench) (_ *keysSeen, err error) {
	f := newWorkload(newKeys)
	dsn, rows, err := freshPortal(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	hosts := newKeys / countersPerHost
	err = errors.Join(
		insert(ctx, rows, "host (id, hostname)", hosts, func(i int) string { return fmt.Sprintf("%d, '%s'", i+1, f.series[i*countersPerHost].Endpoint) }),
		insert(ctx, rows, "grp (id, grp_name)", 1, func(int) string { return "1, 'all'" }),
		insert(ctx, rows, "grp_host (grp_id, host_id)", hosts, func(i int) string { return fmt.Sprintf("1, %d", i+1) }),
		insert(ctx, rows, "tpl (id, tpl_name, parent_id, action_id, create_user)", 1, func(int) string { return "1, 'base', 0, 1, 'root'" }),
		insert(ctx, rows, "grp_tpl (grp_id, tpl_id)", 1, func(int) string { return "1, 1" }),
		insert(ctx, rows, "strategy (metric, tags, max_step, priority, func, op, right_value, note, tpl_id)", countersPerHost/newKeyEvery, func(i int) string {
			return fmt.Sprintf("'%s', '', 3, 2, 'all(#3)', '<', '-1000000000000', '', 1", f.series[i*newKeyEvery].Metric)
		}),
	)
	if err != nil {
		return nil, err
	}

	addr, err := freeAddrs(2 + 2*newKeyJudges)
	if err != nil {
		return nil, err
	}
	hbs, err := b.daemon(ctx, "falcon-hbs", map[string]any{
		"listen": addr[0], "http": listen(addr[1]), "database": dsn, "redis": map[string]any{"enabled": false}, "liveness": map[string]any{"enabled": false},
	}, addr[1])
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, hbs.kill()) }()
	judges := make([]*process, newKeyJudges)
	for i := range judges {
		sub := &bench{bin: b.bin, dir: filepath.Join(b.dir, fmt.Sprint("judge-", i))}
		if err := os.Mkdir(sub.dir, 0o755); err != nil {
			return nil, err
		}
		if judges[i], err = sub.daemon(ctx, "falcon-judge", map[string]any{
			"rpc": listen(addr[2+2*i]), "http": listen(addr[3+2*i]), "data": "data", "hbs": map[string]any{"servers": addr[:1]}, "alarm": map[string]any{"enabled": false},
		}, addr[3+2*i]); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, judges[i].kill()) }()
	}

	// The series of a host are spread over all judges, as by the ring.
	var share [newKeyJudges][]*model.Series
	watched := 0
	for i := range f.series {
		s := &f.series[i]
		n := xxhash.Sum64String(s.Endpoint+"/"+s.Metric) % newKeyJudges
		share[n] = append(share[n], s)
		if i%countersPerHost%newKeyEvery == 0 {
			watched++
		}
	}
	before := make([]float64, newKeyJudges)
	for i, j := range judges {
		if before[i], err = j.cpu(); err != nil {
			return nil, err
		}
	}
	var took []time.Duration
	began := time.Now()
	hbsCPU, err := hbs.measured(func() error {
		took, err = newKeysSend(ctx, addr[2:], share[:])
		return err
	})
	if err != nil {
		return nil, err
	}
	seen := &keysSeen{hbs: hbsCPU / time.Since(began).Seconds()}
	sending := time.Since(began)
	slices.Sort(took)
	seen.p99 = took[len(took)*99/100]
	last := time.Now()
	for kept := 0; kept != watched; {
		if kept, err = newKeysKept(ctx, addr[2:]); err != nil {
			return nil, err
		}
		if time.Since(last) > 3*time.Minute {
			return nil, fmt.Errorf("%d of %d watched keys are kept", kept, watched)
		}
	}
	seen.resolved = time.Since(last)
	cpu := 0.0
	for i, j := range judges {
		after, err := j.cpu()
		if err != nil {
			return nil, err
		}
		cpu += after - before[i]
		seen.memory = max(seen.memory, j.peak()/1024)
	}
	seen.said = fmt.Sprintf("%d keys to %d judges in %.0f s, in calls of %d from stock peers, the slowest %.0f ms; %d keys are watched; %.0f s of CPU in all judges, %.2f s in hbs",
		newKeys, newKeyJudges, sending.Seconds(), newKeyBatch, float64(took[len(took)-1].Microseconds())/1000, watched, cpu, hbsCPU)
	return seen, nil
}

// newKeysSend sends each judge its share, evenly over the minute, and returns how long
// the calls took.
func newKeysSend(ctx context.Context, addr []string, share [][]*model.Series) ([]time.Duration, error) {
	const senders = 8 // to each judge
	ts := start(1)
	began := time.Now()
	took := make([][]time.Duration, len(share)*senders)
	errs := make([]error, len(took))
	var wg sync.WaitGroup
	for j, series := range share {
		calls := (len(series) + newKeyBatch - 1) / newKeyBatch
		var next atomic.Int64
		for n := range senders {
			at := j*senders + n
			wg.Go(func() {
				c := rpc.NewClient(rpc.ClientOptions{Addr: addr[2*j], Codec: rpc.Gob, MaxConns: 1})
				defer c.Close()
				for i := int(next.Add(1)) - 1; i < calls; i = int(next.Add(1)) - 1 {
					var items []*model.JudgeItem
					for _, s := range series[i*newKeyBatch : min((i+1)*newKeyBatch, len(series))] {
						items = append(items, &model.JudgeItem{Endpoint: s.Endpoint, Metric: s.Metric, JudgeType: model.Gauge, Tags: map[string]string{}, Timestamp: ts, Value: 1})
					}
					time.Sleep(time.Until(began.Add(newKeysIn * time.Duration(i) / time.Duration(calls))))
					called := time.Now()
					if errs[at] = c.Call(ctx, "Judge.Send", items, &model.SimpleRpcResponse{}); errs[at] != nil {
						return
					}
					took[at] = append(took[at], time.Since(called))
				}
			})
		}
	}
	wg.Wait()
	return slices.Concat(took...), errors.Join(errs...)
}

// newKeysKept counts the series that the judges keep, which are those that rules watch.
func newKeysKept(ctx context.Context, addr []string) (kept int, err error) {
	c := httpx.NewClient(httpx.Options{})
	for i := 1; i < len(addr); i += 2 {
		raw, err := c.Get(ctx, "http://"+addr[i]+"/filter/stat")
		if err != nil {
			return 0, err
		}
		var stat struct{ Series int }
		if err := json.Unmarshal(raw, &stat); err != nil {
			return 0, err
		}
		kept += stat.Series
	}
	return kept, nil
}
