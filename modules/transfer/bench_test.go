package transfer

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/stream"
)

// cpu returns the CPU time that this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkStreamIn is the CPU of the way from agents to a graph that keeps nothing,
// by streams: 100 000 series that come in pushes of size points on some connections.
// "direct" is the same without a transfer between; the difference is transfer's.
func BenchmarkStreamIn(b *testing.B) {
	for _, size := range []int{200, 2000} {
		b.Run(fmt.Sprint("direct/", size), func(b *testing.B) { streamIn(b, serveStreams(b), stream.KindGraph, size) })
		b.Run(fmt.Sprint("transfer/", size), func(b *testing.B) { streamIn(b, transferTo(b, serveStreams(b)), stream.KindPoints, size) })
	}
}

func transferTo(b testing.TB, graph string) string {
	cfg := testConfig(b, graph)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	tr, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), RPC: ln})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- tr.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	return ln.Addr().String()
}

func streamIn(b *testing.B, addr, kind string, size int) {
	const conns, series = 10, 10_000
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	defer func() { cancel(); wg.Wait() }()
	var send []func(round int64)
	for c := range conns {
		snd, err := stream.NewSender(stream.SenderOptions{Addr: addr, Kind: kind, Sender: "bench"})
		if err != nil {
			b.Fatal(err)
		}
		wg.Go(func() { _ = snd.Run(ctx) })
		points := make([]stream.Point, series)
		for i := range points {
			points[i].Handle = snd.Define(&model.Series{Endpoint: fmt.Sprint("host-", c*100+i/100), Metric: fmt.Sprint("metric.", i%100), Type: model.Gauge, Step: 60, Heartbeat: 120})
		}
		send = append(send, func(round int64) {
			var acks sync.WaitGroup
			for i := range points {
				points[i].Time, points[i].Value = 1_500_000_000+60*round, float64(round)
			}
			for at := 0; at < series; at += size {
				acks.Add(1)
				err := snd.Send(ctx, points[at:at+size], func(r stream.Result) {
					if r.Err != nil {
						b.Error(r.Err)
					}
					acks.Done()
				})
				if err != nil {
					b.Error(err)
					return
				}
			}
			acks.Wait()
		})
	}
	all := func(round int64) {
		var rounds sync.WaitGroup
		for _, f := range send {
			rounds.Go(func() { f(round) })
		}
		rounds.Wait()
	}
	all(0) // defines every series
	b.ReportAllocs()
	round, start := int64(0), cpu(b)
	for b.Loop() {
		round++
		all(round)
	}
	b.ReportMetric(float64((cpu(b)-start).Nanoseconds())/float64(round*conns*series), "cpu-ns/point")
}

// BenchmarkJSONRPC is the CPU of Transfer.Update of 1000 items, as a stock agent or
// another pusher calls it: parsing, checking, and the stream to a graph that keeps
// nothing.
func BenchmarkJSONRPC(b *testing.B) {
	addr := transferTo(b, serveStreams(b))
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	call := append(append([]byte(`{"method":"Transfer.Update","params":[`), batchJSON(1000)...), `],"id":1}`+"\n"...)
	r := bufio.NewReader(c)
	once := func() {
		if _, err := c.Write(call); err != nil {
			b.Fatal(err)
		}
		if line, err := r.ReadString('\n'); err != nil && err != io.EOF || len(line) < 20 {
			b.Fatalf("%q, %v", line, err)
		}
	}
	once()
	b.ReportAllocs()
	start := cpu(b)
	for b.Loop() {
		once()
	}
	b.ReportMetric(float64((cpu(b)-start).Nanoseconds())/float64(b.N)/1000, "cpu-ns/point")
}
