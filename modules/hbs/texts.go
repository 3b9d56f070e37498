package hbs

import (
	"context"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/rulebook"
)

// bookOf returns the part of a book whose strategies are about texts, or about numbers.
// Peers of stock ask for one or the other: a strategy about texts has no threshold, and
// a judge that does not know it would take it for one about numbers with the threshold 0.
func bookOf(b *rulebook.Book, texts bool) *rulebook.Book {
	mixed := false
	for _, s := range b.Strategies {
		if (s.ValueType == model.ValueString) != texts {
			mixed = true
			break
		}
	}
	if !mixed {
		return b
	}
	part := rulebook.New()
	left := make(map[uint64][]*model.Strategy, len(b.Sets)) // of each set
	for id, keys := range b.Sets {
		for _, k := range keys {
			if s := b.Strategies[k]; (s.ValueType == model.ValueString) == texts {
				left[id] = append(left[id], s)
			}
		}
	}
	for host, id := range b.Hosts {
		part.Add(host, left[id])
	}
	return part
}

// getStringStrategies answers Hbs.GetStringStrategies: as Hbs.GetStrategies, of the
// strategies about texts, which that one leaves out.
func (h *HBS) getStringStrategies(_ context.Context, c *rpc.Conn, _ *model.NullRpcRequest) (*strategiesReply, error) {
	e, err := h.keeper.get()
	if err != nil {
		return nil, err
	}
	r := &strategiesReply{rules: e.texts()}
	if c.Codec() != rpc.JSON {
		r.fill()
	}
	return r, nil
}
