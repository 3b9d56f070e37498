package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"falcon/common/stream"
)

// chain is the CPU of transfer, graph and judge together for points that an agent streams:
// logged by graph, and a tenth of them judged, before they are acknowledged.
func chain(ctx context.Context, b *bench) (sum float64, remark string, err error) {
	const warm, rounds = 6, 10
	f := newWorkload(b.series)
	graph, graphAddr, _, err := b.graphAt(ctx)
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, graph.kill()) }()
	judge, judgeAddr, err := b.judgeAt(ctx, f, 10)
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, judge.kill()) }()
	own, err := freeAddrs(2)
	if err != nil {
		return 0, "", err
	}
	transfer, err := b.daemon(ctx, "falcon-transfer", map[string]any{
		"rpc": listen(own[0]), "http": listen(own[1]), "socket": map[string]any{"enabled": false}, "spool": map[string]any{"dir": "spool"},
		"graph": map[string]any{"enabled": true, "cluster": map[string]any{"graph-00": graphAddr}},
		"judge": map[string]any{"enabled": true, "cluster": map[string]any{"judge-00": judgeAddr}},
	}, own[1])
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, transfer.kill()) }()
	fd, err := newFeeder(ctx, f, stream.KindPoints, own[0])
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, fd.close()) }()

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
		return 0, "", err
	}
	daemons := []*process{transfer, graph, judge}
	cpu := func() (all [3]float64, err error) {
		for i, p := range daemons {
			var one error
			all[i], one = p.cpu()
			err = errors.Join(err, one)
		}
		return all, err
	}
	before, err := cpu()
	if err != nil {
		return 0, "", err
	}
	began := time.Now()
	if err := run(warm, warm+rounds); err != nil {
		return 0, "", err
	}
	wall := time.Since(began).Seconds()
	took, err := cpu()
	points := float64(rounds * b.series)
	for i := range took {
		took[i] = (took[i] - before[i]) / points * 1e6
		sum += took[i]
	}
	return sum, fmt.Sprintf("transfer %.3f, graph %.3f, judge %.3f; %d series, %.2g M points/s with the generator on the same cores; RSS %.0f, %.0f, %.0f MB",
		took[0], took[1], took[2], b.series, points/1e6/wall, transfer.rss(), graph.rss(), judge.rss()), err
}
