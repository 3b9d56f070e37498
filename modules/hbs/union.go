package hbs

import (
	"context"

	"falcon/common/model"
	"falcon/common/rpc"
)

// registerUnions announces the fork's methods for rules of several conditions (contract
// ingest 2.4). Its judges ask them; ours has everything in the book.
func (h *HBS) registerUnions(s *rpc.Server) {
	rpc.Handle(s, "Hbs.GetUnionStrategies", func(context.Context, *rpc.Conn, *model.NullRpcRequest) (*unionStrategies, error) {
		e, err := h.keeper.get()
		if err != nil {
			return nil, err
		}
		return &unionStrategies{e.Unions()}, nil
	})
	rpc.Handle(s, "Hbs.GetOneUnionStrategies", func(_ context.Context, _ *rpc.Conn, r *singleID) (*oneStrategies, error) {
		e, err := h.keeper.get()
		if err != nil {
			return nil, err
		}
		return &oneStrategies{e.Unions()[r.Id]}, nil
	})
}

// unionStrategies has the combinations that can alarm, by the id of their row.
type unionStrategies struct {
	UnionStrategiesMap map[int][]*model.Strategy `json:"union_strategies_map"`
}

type singleID struct {
	Id int `json:"id"`
}

// oneStrategies has the members of one; none when it is not there or can not alarm.
type oneStrategies struct {
	Strategies []*model.Strategy `json:"strategies"`
}
