package hbs

import (
	"encoding/json"
	"maps"
	"slices"

	"falcon/common/model"
	"falcon/common/rulebook"
)

// stockRules are the rules as stock's judges take them: a copy of each strategy for
// each host. In JSON, which those judges speak, the strategies of a set are encoded
// once and the answer is put together from the pieces.
type stockRules struct {
	book *rulebook.Book
	sets map[uint64][]byte // the JSON array of a set's strategies
	size int
}

func newStockRules(b *rulebook.Book) *stockRules {
	s := &stockRules{book: b, sets: make(map[uint64][]byte, len(b.Sets))}
	for id, keys := range b.Sets {
		all := make([]*model.Strategy, len(keys))
		for i, k := range keys {
			all[i] = b.Strategies[k]
		}
		text, err := json.Marshal(all)
		if err != nil {
			continue // not with these types: numbers are finite, texts are texts
		}
		s.sets[id] = text
	}
	for host, id := range b.Hosts {
		s.size += len(host) + len(s.sets[id]) + 40
	}
	return s
}

// strategiesReply is model.StrategiesResponse. JSON comes from the pieces, other
// codecs see the field.
type strategiesReply struct {
	HostStrategies []*model.HostStrategy `json:"hostStrategies"`
	rules          *stockRules
}

// AppendJSON writes the answer. Hosts come in the order of their names.
func (r *strategiesReply) AppendJSON(dst []byte) []byte {
	dst = slices.Grow(dst, r.rules.size)
	dst = append(dst, `{"hostStrategies":[`...)
	for i, host := range slices.Sorted(maps.Keys(r.rules.book.Hosts)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		name, _ := json.Marshal(host) // a string can be marshalled
		dst = append(append(append(dst, `{"hostname":`...), name...), `,"strategies":`...)
		dst = append(append(dst, r.rules.sets[r.rules.book.Hosts[host]]...), '}')
	}
	return append(dst, "]}"...)
}

// fill makes the field for codecs that need it.
func (r *strategiesReply) fill() {
	b := r.rules.book
	r.HostStrategies = make([]*model.HostStrategy, 0, len(b.Hosts))
	for _, host := range slices.Sorted(maps.Keys(b.Hosts)) {
		hs := &model.HostStrategy{Hostname: host}
		for _, s := range b.Of(host) {
			hs.Strategies = append(hs.Strategies, *s)
		}
		r.HostStrategies = append(r.HostStrategies, hs)
	}
}
