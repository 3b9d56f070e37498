package plusjudge

import (
	"context"
	"errors"
	"net/netip"
	"strings"

	"falcon/common/model"
	"falcon/common/rpc"
)

// ackRequest and ackReply are those of Judge.Ack (contract alerting 1.2); of the request
// only the id of the event counts here.
type ackRequest struct {
	EventId  string            `json:"event_id"`
	Endpoint string            `json:"endpoint"`
	Metric   string            `json:"metric"`
	Tags     map[string]string `json:"tags"`
	User     string            `json:"user"`
	At       int64             `json:"at"`             // Unix seconds
	Undo     bool              `json:"undo,omitempty"` // it is told again
}

type ackReply struct {
	Code    int `json:"code"`
	Matched int `json:"matched"`
}

func (p *PlusJudge) register(s *rpc.Server) {
	rpc.Handle(s, "Judge.Ping", func(context.Context, *rpc.Conn, *model.NullRpcRequest) (*model.SimpleRpcResponse, error) {
		return &model.SimpleRpcResponse{}, nil
	})
	rpc.Handle(s, "Judge.UnionJudge", p.unionJudge)
	rpc.Handle(s, "PlusJudge.Send", p.unionJudge)
	for _, method := range []string{"Judge.Ack", "PlusJudge.Ack"} {
		rpc.Handle(s, method, func(_ context.Context, c *rpc.Conn, r *ackRequest) (*ackReply, error) {
			if addr, err := netip.ParseAddrPort(c.RemoteAddr()); err == nil && !addr.Addr().Unmap().IsLoopback() {
				return nil, errors.New("only callers of the same machine may acknowledge here")
			}
			n, err := p.ack(r.EventId, r.Undo)
			return &ackReply{Matched: n}, err
		})
	}
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

// ack stops further messages of the problem id until it is over, or with undo has it told
// again, and says for how many actions it is open.
func (p *PlusJudge) ack(id string, undo bool) (n int, err error) {
	if !strings.HasPrefix(id, "m_") {
		return 0, nil
	}
	p.mu.Lock()
	if n = p.core.Ack(id, !undo); n > 0 {
		p.note(&record{Ack: id, Undo: undo})
	}
	p.mu.Unlock()
	if n > 0 {
		err = p.flush()
	}
	return n, err
}
