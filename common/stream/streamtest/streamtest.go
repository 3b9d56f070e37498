// Package streamtest measures the daemons at the end of a stream.
package streamtest

import (
	"context"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/common/stream"
)

// AllocsPerPoint sends points of series that are known to the daemon at addr and returns
// how often memory was allocated for each, sender and daemon together; what a push costs
// as a whole is spread over its thousands of points. The daemon is of this process, and
// takes every point. Values are 100, times each minute until now.
func AllocsPerPoint(t *testing.T, addr, kind string, series []model.Series) float64 {
	t.Helper()
	const warm, runs = 20, 20 // histories, windows and buffers have their size after warm
	snd, err := stream.NewSender(stream.SenderOptions{Addr: addr, Kind: kind, Sender: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- snd.Run(ctx) }()
	defer func() { cancel(); <-ended }()

	points := make([]stream.Point, len(series))
	for i := range series {
		points[i] = stream.Point{Handle: snd.Define(&series[i]), Value: 100}
	}
	at := time.Now().Unix()/60*60 - 60*(warm+runs+1)
	answer := make(chan stream.Result, 1)
	done := func(r stream.Result) { answer <- r }
	push := func() {
		at += 60
		for i := range points {
			points[i].Time = at
		}
		if err := snd.Send(ctx, points, done); err != nil {
			t.Fatal(err)
		}
		if r := <-answer; r.Err != nil || r.Taken != len(points) {
			t.Fatalf("of %d points %d were taken, %d muted: %v", len(points), r.Taken, r.Muted, r.Err)
		}
	}
	for range warm {
		push()
	}
	return testing.AllocsPerRun(runs, push) / float64(len(points))
}
