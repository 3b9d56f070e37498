package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"falcon/common/httpx"
	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/stream"
)

// counting is a transfer that takes everything and counts it.
type counting struct {
	sink
	n *atomic.Int64
}

func (c counting) Push(p *stream.Points, done func(*stream.Ack, error)) {
	c.n.Add(int64(p.Len()))
	done(nil, nil)
}

// watched starts an agent with these keys between a transfer that counts and an hbs that
// has nothing to say.
func (b *bench) watched(ctx context.Context, keys map[string]any) (p *process, http string, arrived *atomic.Int64, stop func() error, err error) {
	ctx, cancel := context.WithCancel(ctx)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		cancel()
		return nil, "", nil, nil, err
	}
	arrived = &atomic.Int64{}
	s := rpc.NewServer(rpc.ServerOptions{})
	stream.Serve(s, stream.ServeOptions{}, func(*rpc.Conn, stream.Hello) (stream.Receiver, error) { return counting{n: arrived}, nil })
	rpc.Handle(s, "Agent.ReportStatus", func(context.Context, *rpc.Conn, *model.AgentReportRequest) (*model.SimpleRpcResponse, error) {
		return &model.SimpleRpcResponse{}, nil
	})
	rpc.Handle(s, "Agent.TrustableIps", func(context.Context, *rpc.Conn, *model.NullRpcRequest) (*string, error) { return new(string), nil })
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ln) }()
	stop = func() error {
		cancel()
		return <-ended
	}
	own, err := freeAddr()
	if err == nil {
		cfg := map[string]any{
			"hostname": "bench", "http": listen(own), "spool": map[string]any{"dir": "spool"},
			"transfer":  map[string]any{"enabled": true, "addrs": []string{ln.Addr().String()}, "interval": 60},
			"heartbeat": map[string]any{"enabled": true, "addr": ln.Addr().String()},
		}
		for k, v := range keys {
			cfg[k] = v
		}
		p, err = b.daemon(ctx, "falcon-agent", cfg, own)
	}
	if err != nil {
		return nil, "", nil, nil, errors.Join(err, stop())
	}
	return p, own, arrived, stop, nil
}

// idleAfter is how long an agent runs before its idle figures are taken, and idleOver
// how long they are taken.
const (
	idleAfter = 10 * time.Minute
	idleOver  = 5 * time.Minute
)

// agentIdle looks at an agent with stock's configuration and metrics that nobody pushes to.
func agentIdle(ctx context.Context, b *bench) (rss, cpu float64, err error) {
	p, _, arrived, stop, err := b.watched(ctx, nil)
	if err != nil {
		return 0, 0, err
	}
	time.Sleep(idleAfter)
	cpu, err = p.measured(func() error {
		time.Sleep(idleOver)
		return nil
	})
	rss = p.rss()
	if arrived.Load() == 0 {
		err = errors.Join(err, errors.New("the agent has sent nothing"))
	}
	if rss == 0 {
		err = errors.Join(err, errors.New("the agent has ended before its time"))
	}
	return rss, cpu / idleOver.Minutes(), errors.Join(err, p.kill(), stop())
}

// agentMemory is the memory of an idle agent, and its CPU beside it.
func agentMemory(ctx context.Context, b *bench) (float64, string, error) {
	rss, cpu, err := agentIdle(ctx, b)
	b.idleCPU = cpu
	return rss, fmt.Sprintf("after %v, spool on", idleAfter), err
}

// agentCPU is the CPU a minute of the agent that agentMemory has looked at.
func agentCPU(ctx context.Context, b *bench) (float64, string, error) {
	if b.idleCPU == 0 {
		if _, _, err := agentMemory(ctx, b); err != nil {
			return 0, "", err
		}
	}
	return b.idleCPU, fmt.Sprintf("over %v", idleOver), nil
}

// agentPush is how many items a second programs can push while all of them arrive: a
// hundred a call, four callers, 20 000 series, spool on.
func agentPush(ctx context.Context, b *bench) (float64, string, error) {
	const callers, batch, kinds, pushed = 4, 100, 200, 1_000_000
	p, addr, arrived, stop, err := b.watched(ctx, nil)
	if err != nil {
		return 0, "", err
	}
	bodies := make([][]byte, kinds)
	ts := time.Now().Unix()
	for k := range bodies {
		var items []map[string]any
		for i := range batch {
			items = append(items, map[string]any{
				"endpoint": "bench", "metric": "app.requests", "tags": fmt.Sprintf("worker=%d,kind=%d", i, k), "timestamp": ts, "step": 60, "value": i, "counterType": "GAUGE",
			})
		}
		if bodies[k], err = json.Marshal(items); err != nil {
			return 0, "", errors.Join(err, p.kill(), stop())
		}
	}
	began := time.Now()
	cpu, err := p.measured(func() error {
		var wg sync.WaitGroup
		errs := make([]error, callers)
		for c := range callers {
			wg.Go(func() { errs[c] = pushAll(ctx, addr, bodies, pushed/batch/callers) })
		}
		wg.Wait()
		for end := time.Now().Add(time.Minute); arrived.Load() < pushed && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
		}
		return errors.Join(errs...)
	})
	took := time.Since(began)
	if n := arrived.Load(); err == nil && n < pushed {
		err = fmt.Errorf("%d of %d items arrived", n, pushed)
	}
	remark := fmt.Sprintf("a million items, all arrived; %.2g s of CPU for it, RSS %.0f MB", cpu, p.peak())
	return pushed / took.Seconds(), remark, errors.Join(err, p.kill(), stop())
}

// pushAll makes so many calls, one after another.
func pushAll(ctx context.Context, addr string, bodies [][]byte, calls int) error {
	c := httpx.NewClient(httpx.Options{Tries: 1})
	for i := range calls {
		text, err := c.Post(ctx, "http://"+addr+"/v1/push", bodies[i%len(bodies)])
		if err != nil {
			return err
		}
		if string(text) != "success" {
			return fmt.Errorf("push: %s", text)
		}
	}
	return nil
}
