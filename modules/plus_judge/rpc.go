package plusjudge

import (
	"cmp"
	"context"
	"strings"

	"falcon/common/model"
	"falcon/common/rpc"
)

func (p *PlusJudge) register(s *rpc.Server) {
	rpc.Handle(s, "Judge.Ping", func(context.Context, *rpc.Conn, *model.NullRpcRequest) (*model.SimpleRpcResponse, error) {
		return &model.SimpleRpcResponse{}, nil
	})
	rpc.Handle(s, "Judge.UnionJudge", p.unionJudge)
	rpc.Handle(s, "PlusJudge.Send", p.unionJudge)
	rpc.Handle(s, "PlusJudge.Combinations", func(_ context.Context, _ *rpc.Conn, r *model.CombinationsRequest) (*model.CombinationsReply, error) {
		all := p.views(*r)
		return &all, nil
	})
	acks := []string{"Judge.Ack", "PlusJudge.Ack"}
	for _, method := range acks {
		rpc.Handle(s, method, func(_ context.Context, _ *rpc.Conn, r *model.AckRequest) (*model.AckReply, error) {
			n, err := p.ack(r)
			return &model.AckReply{Matched: n}, err
		})
	}
	rpc.Protect(s, p.cfg.FleetKey.Reveal(), acks...)
}

// unionJudge takes an event of a condition. What is wrong with it is counted, and is no
// error: sent again it would be as wrong.
func (p *PlusJudge) unionJudge(ctx context.Context, _ *rpc.Conn, e *model.Event) (*model.SimpleRpcResponse, error) {
	p.received.Add(1)
	if s := e.Strategy; s != nil && s.MultiCount == 0 && s.MultiSerial == "" && s.UnionStrategyId > 0 {
		n, err := p.unions.members(ctx, s.UnionStrategyId)
		if err != nil {
			p.refused.Add(reasonUnknown, 1)
			return nil, err
		}
		s.MultiCount = n
	}
	reason, err := p.take(e)
	if reason != "" {
		p.refused.Add(reason, 1)
		return &model.SimpleRpcResponse{Code: 1}, nil
	}
	if err != nil {
		return nil, err
	}
	return &model.SimpleRpcResponse{}, nil
}

// reasonUnknown: nobody says how many members the combination has.
const reasonUnknown = "unknown_union"

// ack stops further messages of the problem that r names until it is over, or with undo
// has it told again, and says for how many actions it is open.
func (p *PlusJudge) ack(r *model.AckRequest) (n int, err error) {
	if !strings.HasPrefix(r.EventId, "m_") {
		return 0, nil
	}
	rec := &record{Ack: r.EventId, Undo: r.Undo, By: r.User, AckedAt: cmp.Or(r.At, p.now().Unix())}
	p.mu.Lock()
	if n = p.core.Ack(rec.Ack, rec.acked()); n > 0 {
		p.note(rec)
	}
	p.mu.Unlock()
	if n > 0 {
		err = p.flush()
	}
	return n, err
}
