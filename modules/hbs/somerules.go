package hbs

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/rulebook"
	"falcon/common/verdict"
)

// someRules are the strategies of each set by metric, for judges that ask for a part of
// the rules. Hosts of a set share it, so an answer is two look-ups and no query.
type someRules struct {
	book *rulebook.Book
	sets map[uint64]map[string][]*model.Strategy
}

func newSomeRules(b *rulebook.Book) someRules {
	s := someRules{b, make(map[uint64]map[string][]*model.Strategy, len(b.Sets))}
	for id, keys := range b.Sets {
		by := map[string][]*model.Strategy{}
		for _, k := range keys {
			// Rules of texts are for who asks for those.
			if st := b.Strategies[k]; st.ValueType != "string" {
				by[st.Metric] = append(by[st.Metric], st)
			}
		}
		s.sets[id] = by
	}
	return s
}

// of returns the strategies that may watch a series of the key endpoint/metric, or do
// watch the one of endpoint/metric/k=v,k=v; nil for none. Both names may hold slashes:
// the first reading that finds strategies counts.
func (s someRules) of(key string) []*model.Strategy {
	for i := range len(key) {
		if key[i] != '/' {
			continue
		}
		by := s.sets[s.book.Hosts[key[:i]]]
		if by == nil {
			continue
		}
		rest := key[i+1:]
		if found := by[rest]; found != nil {
			return slices.DeleteFunc(slices.Clone(found), func(st *model.Strategy) bool { return contradictory(st.Tags) })
		}
		for j := range len(rest) {
			if rest[j] != '/' || by[rest[:j]] == nil {
				continue
			}
			if tags, ok := model.ParseTagsStrict(rest[j+1:]); ok && len(tags) > 0 {
				return slices.DeleteFunc(slices.Clone(by[rest[:j]]), func(st *model.Strategy) bool { return !verdict.Match(st.Tags, tags) })
			}
		}
	}
	return nil
}

// contradictory says whether tags exclude what they ask for, so that no series has them.
func contradictory(tags map[string]string) bool {
	wanted := map[string]string{}
	for k, v := range tags {
		if !strings.HasPrefix(k, "^") {
			wanted[k] = v
		}
	}
	return !verdict.Match(tags, wanted)
}

// host returns the strategies in force on a host, nil for one in maintenance.
func (s someRules) host(name string) []*model.Strategy {
	if _, disabled := slices.BinarySearch(s.book.Disabled, name); disabled {
		return nil
	}
	return slices.DeleteFunc(s.book.Of(name), func(st *model.Strategy) bool { return st.ValueType == "string" })
}

// keySet is what HbsNew.GetFilteredStrategies is asked for: endpoint/metric to a number
// that says nothing. Keys with tags behind them are taken, too.
type keySet map[string]int

// UnmarshalJSON takes any value of a key.
func (k *keySet) UnmarshalJSON(b []byte) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	*k = make(keySet, len(all))
	for key := range all {
		(*k)[key] = 0
	}
	return nil
}

// filteredStrategies answers it: keys without strategies are left out.
type filteredStrategies struct {
	HostStrategies map[string][]*model.Strategy `json:"hostStrategies"`
}

func (h *HBS) getFilteredStrategies(_ context.Context, _ *rpc.Conn, keys *keySet) (*filteredStrategies, error) {
	e, err := h.keeper.get()
	if err != nil {
		return nil, err
	}
	h.someRules.Add(1)
	some := e.some()
	r := &filteredStrategies{map[string][]*model.Strategy{}}
	for key := range *keys {
		if found := some.of(key); len(found) > 0 {
			r.HostStrategies[key] = found
		}
	}
	return r, nil
}

// endpoint is the question of the fork's Hbs.GetOneEndStrategies.
type endpoint struct {
	Endpoint string `json:"endpoint"`
}

// endStrategies answers it; null for a host in maintenance.
type endStrategies struct {
	Strategies []*model.Strategy `json:"strategies"`
}

// getOneEndStrategies answers with the merge of all our answers, not with the fork's,
// which knows one generation of templates, no override and no hours.
func (h *HBS) getOneEndStrategies(_ context.Context, _ *rpc.Conn, r *endpoint) (*endStrategies, error) {
	e, err := h.keeper.get()
	if err != nil {
		return nil, err
	}
	h.someRules.Add(1)
	return &endStrategies{e.some().host(r.Endpoint)}, nil
}
