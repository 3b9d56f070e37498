package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"falcon/common/rpc"
)

// reach sees to it that there is a way to send: a stream, or the stock call of a
// peer that is known to be stock. When there is none it hands back everything
// queued and returns false. A stock peer is found out by sending it the oldest
// batch; then too it returns false, since that batch is gone.
func (s *Sender) reach(ctx context.Context) bool {
	l := &s.loop
	if l.stock {
		if time.Now().Before(l.stockUntil) && (s.opts.StockConnects == nil || s.opts.StockConnects() == l.stockConnects) {
			return true
		}
		l.stock = false // it may be another program by now
	}
	s.mu.Lock()
	wait := time.Until(s.retryAt)
	s.mu.Unlock()
	if wait > 0 {
		s.handBack(l.awayErr)
		return false
	}
	conn, w, err := s.openStream(ctx)
	switch {
	case err == nil:
		l.conn, l.seq, l.refused = conn, 0, 0
		l.window, l.windowBytes = w.Window, w.WindowBytes
		def(&l.window, 8)
		def(&l.windowBytes, 4<<20)
		l.pause, l.awayErr = 0, nil
		l.lastPush = time.Now()
		s.table.connect()
		s.stats.Connects.Add(1)
		s.setState(Streaming)
		s.log.Info("stream opened", "peer", s.opts.Addr, "kind", s.opts.Kind)
		return true
	case !mayBeStock(err):
	case s.opts.Stock == nil:
		err = fmt.Errorf("peer knows no streams: %w", err)
	default:
		s.tryStock(ctx)
		return false
	}
	s.handBack(s.away(err))
	return false
}

// mayBeStock reports whether a refused Stream.Open may come from a peer that knows
// no streams. It may come from one that died in that moment, too.
func mayBeStock(err error) bool {
	return rpc.IsMethodMissing(err) || errors.Is(err, rpc.ErrPeerClosed)
}

// openStream makes one attempt to open a stream.
func (s *Sender) openStream(ctx context.Context) (*rpc.ClientConn, *welcome, error) {
	conn, err := rpc.Dial(ctx, s.rpcOptions())
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.CallTimeout)
	defer cancel()
	w := &welcome{}
	err = conn.Call(ctx, methodOpen, &Hello{
		Version: Version, Capabilities: append([]string{capAfter}, s.opts.Capabilities...), Kind: s.opts.Kind, Sender: s.opts.Sender, Ring: s.opts.Ring, Token: s.opts.Token,
	}, w)
	if err == nil && w.Version != Version {
		err = fmt.Errorf("peer answers with stream version %d, this program speaks version %d", w.Version, Version)
	}
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, w, nil
}

// tryStock sends the oldest batch by the stock call, on whose success the peer is
// stock.
func (s *Sender) tryStock(ctx context.Context) {
	l := &s.loop
	if !s.stockCall(ctx) {
		return
	}
	l.stock = true
	l.stockUntil = time.Now().Add(s.opts.StockRecheck)
	if s.opts.StockConnects != nil {
		l.stockConnects = s.opts.StockConnects()
	}
	l.pause, l.awayErr = 0, nil
	s.setState(StockPeer)
	s.log.Info("peer is stock", "peer", s.opts.Addr, "kind", s.opts.Kind)
}

// sendStock sends the oldest batch to a peer that is known to be stock.
func (s *Sender) sendStock(ctx context.Context) {
	if !s.stockCall(ctx) {
		s.loop.stock = false
	}
}

// stockCall sends the oldest batch by the stock call and reports whether the peer
// has answered. A peer that refuses the batch has answered, too: only the batch
// goes back. When it has not, everything queued goes back.
func (s *Sender) stockCall(ctx context.Context) bool {
	b := s.next()
	b.open = 1
	b.result.Stock = true
	ctx, cancel := context.WithTimeout(ctx, s.opts.CallTimeout)
	defer cancel()
	err := s.opts.Stock(ctx, b.points)
	if err == nil {
		b.result.Taken = len(b.points)
		s.part(b, nil, false)
		return true
	}
	var refused rpc.ServerError
	if errors.As(err, &refused) && s.loop.stock {
		s.part(b, fmt.Errorf("send %d points to stock %s: %w", len(b.points), s.opts.Addr, err), false)
		return true
	}
	err = s.away(err)
	s.part(b, err, !errors.As(err, &refused))
	s.handBack(err)
	return false
}
