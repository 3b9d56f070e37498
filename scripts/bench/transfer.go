package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/stream"
)

// sink is a graph and a judge that take everything and keep nothing.
type sink struct{}

func (sink) Define(uint32, *model.Series) string                  { return "" }
func (sink) Forget(uint32)                                        {}
func (sink) Push(_ *stream.Points, done func(*stream.Ack, error)) { done(nil, nil) }
func (sink) Close()                                               {}

// behind starts the sinks and a transfer in front of them.
func (b *bench) behind(ctx context.Context) (p *process, rpcAddr string, stop func() error, err error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 2)
	addr := make([]string, 2)
	for i := range addr {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			cancel()
			return nil, "", nil, err
		}
		addr[i] = ln.Addr().String()
		s := rpc.NewServer(rpc.ServerOptions{})
		stream.Serve(s, stream.ServeOptions{}, func(*rpc.Conn, stream.Hello) (stream.Receiver, error) { return sink{}, nil })
		go func() { ended <- s.Serve(ctx, ln) }()
	}
	stop = func() error {
		cancel()
		return errors.Join(<-ended, <-ended)
	}
	own, err := freeAddrs(2)
	if err == nil {
		p, err = b.daemon(ctx, "falcon-transfer", map[string]any{
			"rpc": listen(own[0]), "http": listen(own[1]), "socket": map[string]any{"enabled": false}, "minStep": 10, "spool": map[string]any{"dir": "spool"},
			"graph": map[string]any{"enabled": true, "cluster": map[string]any{"graph-00": addr[0]}},
			"judge": map[string]any{"enabled": true, "cluster": map[string]any{"judge-00": addr[1]}},
		}, own[1])
	}
	if err != nil {
		return nil, "", nil, errors.Join(err, stop())
	}
	return p, own[0], stop, nil
}

// transferStream is the CPU of transfer for points that come in a stream and go out
// in two, to a graph and a judge.
func transferStream(ctx context.Context, b *bench) (float64, string, error) {
	const series, rounds = 200_000, 25
	p, addr, stop, err := b.behind(ctx)
	if err != nil {
		return 0, "", err
	}
	fd, err := newFeeder(ctx, newWorkload(series), stream.KindPoints, addr)
	if err != nil {
		return 0, "", err
	}
	t0 := start(rounds + 1)
	if err := fd.round(ctx, 0, t0); err != nil {
		return 0, "", errors.Join(err, p.kill(), stop())
	}
	began := time.Now()
	cpu, err := p.measured(func() error {
		for r := 1; r <= rounds; r++ {
			if err := fd.round(ctx, r, t0+int64(60*r)); err != nil {
				return err
			}
		}
		return nil
	})
	points := float64(series * rounds)
	remark := fmt.Sprintf("%.2g M points/s with generator and sinks on the same cores, RSS %.0f MB", points/1e6/time.Since(began).Seconds(), p.rss())
	return cpu / points * 1e6, remark, errors.Join(err, fd.close(), p.kill(), stop())
}

// transferJSON is the same for stock's JSON-RPC, a thousand items a call.
func transferJSON(ctx context.Context, b *bench) (float64, string, error) {
	const batch, calls, kinds = 1000, 2000, 50
	p, addr, stop, err := b.behind(ctx)
	if err != nil {
		return 0, "", err
	}
	requests, err := jsonRequests(batch, kinds)
	if err != nil {
		return 0, "", err
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, "", err
	}
	defer c.Close()
	replies := bufio.NewReaderSize(c, 1<<16)
	call := func(i int) error {
		if _, err := c.Write(requests[i%kinds]); err != nil {
			return err
		}
		line, err := replies.ReadBytes('\n')
		if err != nil {
			return err
		}
		var reply struct {
			Result model.TransferResponse
			Error  any
		}
		if err := json.Unmarshal(line, &reply); err != nil || reply.Error != nil || reply.Result.Invalid != 0 || reply.Result.Total != batch {
			return fmt.Errorf("answer %s, %w", line, err)
		}
		return nil
	}
	for i := range kinds {
		if err := call(i); err != nil {
			return 0, "", errors.Join(err, p.kill(), stop())
		}
	}
	cpu, err := p.measured(func() error {
		for i := range calls {
			if err := call(i); err != nil {
				return err
			}
		}
		return nil
	})
	return cpu / (batch * calls) * 1e6, fmt.Sprintf("RSS %.0f MB", p.rss()), errors.Join(err, p.kill(), stop())
}

// jsonRequests encodes n different calls as stock agents send them.
func jsonRequests(batch, n int) ([][]byte, error) {
	f := newWorkload(batch * n)
	out := make([][]byte, n)
	now := time.Now().Unix()
	for i := range out {
		items := make([]model.MetricValue, batch)
		for j := range items {
			s := &f.series[i*batch+j]
			items[j] = model.MetricValue{
				Endpoint: s.Endpoint, Metric: s.Metric, Value: f.value(i*batch+j, i), Step: 60, Type: s.Type, Tags: "iface=eth0", Timestamp: now,
			}
		}
		b, err := json.Marshal(map[string]any{"method": "Transfer.Update", "params": []any{items}, "id": i})
		if err != nil {
			return nil, err
		}
		out[i] = append(b, '\n')
	}
	return out, nil
}
