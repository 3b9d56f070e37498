package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/rulebook"
	"falcon/common/stream"
)

// judgeAt starts a judge whose book watches every nth counter of each host of f, by
// rules that are judged and do not fire.
func (b *bench) judgeAt(ctx context.Context, f *workload, every int) (p *process, rpcAddr string, err error) {
	var rules []*model.Strategy
	for i := 0; i < countersPerHost; i += every {
		rules = append(rules, &model.Strategy{
			Id: i + 1, Metric: f.series[i].Metric, Tags: map[string]string{}, Func: "all(#3)", Operator: "<", RightValue: -1e12, MaxStep: 3, Priority: 2,
			Tpl: &model.Template{Id: 1, ActionId: 1},
		})
	}
	book := rulebook.New()
	for i := 0; i < len(f.series); i += countersPerHost {
		book.Add(f.series[i].Endpoint, rules)
	}
	data := filepath.Join(b.dir, "judge")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return nil, "", err
	}
	if err := os.WriteFile(filepath.Join(data, "rules.book"), book.Encode(), 0o600); err != nil {
		return nil, "", err
	}
	own, err := freeAddrs(3)
	if err != nil {
		return nil, "", err
	}
	p, err = b.daemon(ctx, "falcon-judge", map[string]any{
		"rpc": listen(own[0]), "http": listen(own[1]), "data": data, "hbs": map[string]any{"servers": own[2:]}, "alarm": map[string]any{"enabled": false},
	}, own[1])
	return p, own[0], err
}

// judged returns the CPU of judge for a million points that are offered to it, once
// its histories are full.
func judged(ctx context.Context, b *bench, every int) (float64, string, error) {
	const warm, rounds = 12, 10
	f := newWorkload(b.series)
	p, addr, err := b.judgeAt(ctx, f, every)
	if err != nil {
		return 0, "", err
	}
	fd, err := newFeeder(ctx, f, stream.KindJudge, addr)
	if err != nil {
		return 0, "", errors.Join(err, p.kill())
	}
	t0 := start(warm + rounds)
	run := func(from, to int) error {
		for r := from; r < to; r++ {
			if err := fd.round(ctx, r, t0+int64(60*r)); err != nil {
				return err
			}
		}
		return nil
	}
	if err := run(0, warm); err != nil {
		return 0, "", errors.Join(err, fd.close(), p.kill())
	}
	rss, peak := p.rss(), p.peak()
	began := time.Now()
	cpu, err := p.measured(func() error { return run(warm, warm+rounds) })
	points := float64(rounds * b.series)
	remark := fmt.Sprintf("%d series, one in %d watched, the others muted at the sender; %.2g M points/s with the generator on the same cores, RSS %.0f MB, peak %.0f MB",
		b.series, every, points/1e6/time.Since(began).Seconds(), rss, peak)
	if every == 1 {
		remark = fmt.Sprintf("%d series, each watched; %.2g M points/s with the generator on the same cores, RSS %.0f MB",
			b.series, points/1e6/time.Since(began).Seconds(), rss)
	}
	return cpu / points * 1e6, remark, errors.Join(err, fd.close(), p.kill())
}

func judgeTenth(ctx context.Context, b *bench) (float64, string, error) { return judged(ctx, b, 10) }

func judgeAll(ctx context.Context, b *bench) (float64, string, error) { return judged(ctx, b, 1) }

// judgeMemory is what a judge holds in an hour of a million series.
func judgeMemory(ctx context.Context, b *bench) (float64, string, error) {
	const rounds = 60
	f := newWorkload(b.series)
	p, addr, err := b.judgeAt(ctx, f, 10)
	if err != nil {
		return 0, "", err
	}
	fd, err := newFeeder(ctx, f, stream.KindJudge, addr)
	if err != nil {
		return 0, "", errors.Join(err, p.kill())
	}
	t0 := start(rounds)
	for r := range rounds {
		if err := fd.round(ctx, r, t0+int64(60*r)); err != nil {
			return 0, "", errors.Join(err, fd.close(), p.kill())
		}
	}
	rss := p.rss() / 1024
	return rss, fmt.Sprintf("RSS after an hour of points, %d series, a tenth watched, GOGC 50 (its default); peak %.0f MB", b.series, p.peak()), errors.Join(fd.close(), p.kill())
}

// judgeNewSeries is how long stock peers wait for a judge that has never heard of their
// series, half a million of them, a tenth of which are watched.
func judgeNewSeries(ctx context.Context, b *bench) (float64, string, error) {
	const senders, batch = 4, 200
	f := newWorkload(b.series / 2)
	p, addr, err := b.judgeAt(ctx, f, 10)
	if err != nil {
		return 0, "", err
	}
	took := make([][]time.Duration, senders)
	var wg sync.WaitGroup
	errs := make([]error, senders)
	ts := start(1)
	began := time.Now()
	cpu, err := p.measured(func() error {
		for n := range senders {
			wg.Go(func() {
				c := rpc.NewClient(rpc.ClientOptions{Addr: addr, Codec: rpc.Gob})
				defer c.Close()
				for i := n * batch; i < len(f.series); i += senders * batch {
					var items []*model.JudgeItem
					for _, s := range f.series[i:min(i+batch, len(f.series))] {
						items = append(items, &model.JudgeItem{Endpoint: s.Endpoint, Metric: s.Metric, JudgeType: model.Gauge, Tags: model.ParseTags(s.Tags), Timestamp: ts, Value: 1})
					}
					called := time.Now()
					if errs[n] = c.Call(ctx, "Judge.Send", items, &model.SimpleRpcResponse{}); errs[n] != nil {
						return
					}
					took[n] = append(took[n], time.Since(called))
				}
			})
		}
		wg.Wait()
		return errors.Join(errs...)
	})
	if err != nil {
		return 0, "", errors.Join(err, p.kill())
	}
	all := slices.Concat(took...)
	slices.Sort(all)
	p99 := all[len(all)*99/100]
	remark := fmt.Sprintf("99 of 100 calls of %d items; %d new series, a tenth watched, in %.1f s, %.1f s of CPU, RSS %.0f MB", batch, len(f.series), time.Since(began).Seconds(), cpu, p.rss())
	return float64(p99.Microseconds()) / 1000, remark, p.kill()
}
