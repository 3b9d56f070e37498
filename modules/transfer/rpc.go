package transfer

import (
	"context"
	"fmt"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/stream"
)

// register announces the methods of contract ingest 2.4, and streams.
func (t *Transfer) register(s *rpc.Server) {
	rpc.Handle(s, "Transfer.Ping", func(context.Context, *rpc.Conn, *model.NullRpcRequest) (*model.SimpleRpcResponse, error) {
		return &model.SimpleRpcResponse{}, nil
	})
	rpc.Handle(s, "Transfer.Update", t.update)
	rpc.Handle(s, "Transfer.Judges", t.judgesCall)
	rpc.Handle(s, "Transfer.Adopt", t.adoptCall)
	rpc.Protect(s, t.cfg.FleetKey.Reveal(), "Transfer.Judges", "Transfer.Adopt")
	stream.Serve(s, stream.ServeOptions{Log: t.log}, func(_ *rpc.Conn, h stream.Hello) (stream.Receiver, error) {
		if h.Kind != stream.KindPoints {
			return nil, fmt.Errorf("stream of %q refused: a transfer takes streams of %q", h.Kind, stream.KindPoints)
		}
		return &inbound{t: t, sp: t.newSpread()}, nil
	})
}

// update answers once the points are kept. Bad items are only counted; the error is
// for the case that nothing can be kept, and then the caller keeps the batch.
func (t *Transfer) update(ctx context.Context, _ *rpc.Conn, items *update) (*model.TransferResponse, error) {
	defer items.release()
	resp, err := t.wait(ctx, *items)
	if err == nil {
		t.rpcRecv.Add(resp.Total - resp.Invalid)
	}
	return resp, err
}

// wait takes items and returns when they are kept. Its error, also that of ctx, says
// that nobody vouches for them.
func (t *Transfer) wait(ctx context.Context, items update) (*model.TransferResponse, error) {
	start := time.Now()
	kept := make(chan error, 1)
	invalid := t.take(items, t.now(), func(err error) { kept <- err })
	select {
	case err := <-kept:
		if err != nil {
			return nil, err
		}
	case <-ctx.Done():
		return nil, fmt.Errorf("points are not kept yet: %w", ctx.Err())
	}
	t.recv.Add(len(items) - invalid)
	return &model.TransferResponse{Message: "ok", Total: len(items), Invalid: invalid, Latency: time.Since(start).Milliseconds()}, nil
}
