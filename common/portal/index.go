package portal

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/jmoiron/sqlx"
)

// The search index (contract query 1.9, 6.3) is derived from what graphs hold:
// one row an endpoint, one a tag of an endpoint, one a series. Graphs write it
// behind, api reads it for stock graph nodes and for the ids that stock's
// clients pass around.

// An IndexRow says that a series reported.
type IndexRow struct {
	Endpoint string
	Counter  string // metric or metric/tags
	Tags     string // k=v,k=v, as in the counter; empty for none
	Step     int    // seconds
	Type     string // GAUGE or DERIVE
	Ts       int64  // Unix time of the newest point
}

// An IndexRefusal says that a row can not be stored, ever; the others of its
// batch were.
type IndexRefusal struct {
	Row    int    // its place in the batch
	Reason string // in words
}

// indexChunk bounds the rows of one transaction, so that others wait for its
// locks for milliseconds.
const indexChunk = 500

// columnChars is the room of endpoint.endpoint, tag_endpoint.tag and
// endpoint_counter.counter.
const columnChars = 255

// IndexWrite enters rows into the index: the endpoint, each of its tags, and the
// counter with its step and type. What is there already gets the newer time, and
// a newer step and type; an older row changes nothing. Any number of writers, here
// and in other processes, may write the same rows at once.
//
// cache remembers the ids of endpoints between calls and may be nil. Rows that no
// column can hold come back in refused. An error says that some rows may not be
// written yet: write the batch again, that is harmless.
func (db *DB) IndexWrite(ctx context.Context, cache *EndpointCache, rows []IndexRow) (refused []IndexRefusal, err error) {
	if cache == nil {
		cache = NewEndpointCache(indexChunk)
	}
	good := make([]IndexRow, 0, len(rows))
	for i, r := range rows {
		if reason := r.refuse(); reason != "" {
			refused = append(refused, IndexRefusal{i, reason})
			continue
		}
		r.Ts = min(max(r.Ts, 0), math.MaxInt32) // the column is int
		good = append(good, r)
	}
	good = newestOfEach(good)
	for chunk := range slices.Chunk(good, indexChunk) {
		if err := db.writeIndex(ctx, cache, chunk); err != nil {
			return refused, err
		}
	}
	return refused, nil
}

// errStale says that an endpoint's row is gone, or belongs to another endpoint.
var errStale = errors.New("an endpoint was deleted meanwhile")

// writeIndex enters sorted rows in one transaction, after it has made the
// endpoints that are missing.
func (db *DB) writeIndex(ctx context.Context, cache *EndpointCache, rows []IndexRow) error {
	seen := map[string]int64{} // endpoint -> newest ts
	for _, r := range rows {
		seen[r.Endpoint] = max(seen[r.Endpoint], r.Ts)
	}
	for try := 1; ; try++ {
		ids, unknown := cache.get(seen)
		if len(unknown) > 0 {
			made, err := db.EndpointIDs(ctx, unknown)
			if err != nil {
				return err
			}
			cache.put(made)
			maps.Copy(ids, made)
		}
		err := db.Graph.Tx(ctx, func(tx *sqlx.Tx) error {
			return indexTx{ctx, tx, db.Graph.dialect}.write(ids, seen, rows)
		})
		if !errors.Is(err, errStale) || try == 3 {
			return err
		}
		cache.forget(seen)
	}
}

// refuse says why a row can not be stored, or "".
func (r *IndexRow) refuse() string {
	switch {
	case r.Endpoint == "":
		return "endpoint is empty"
	case r.Counter == "":
		return "counter is empty"
	case r.Step <= 0 || r.Step > math.MaxInt32:
		return "step is out of range"
	}
	// A tag is a part of its counter, so it fits when the counter does; but a
	// caller may have its own idea of Tags.
	for _, f := range []struct {
		name, value string
		max         int
	}{{"endpoint", r.Endpoint, columnChars}, {"counter", r.Counter, columnChars}, {"type", r.Type, 16}, {"tags", r.Tags, columnChars}} {
		if reason := fits(f.value, f.max); reason != "" {
			return f.name + " " + reason
		}
	}
	return ""
}

// newestOfEach sorts rows by endpoint and counter, in place, and keeps the newest
// of each.
func newestOfEach(rows []IndexRow) []IndexRow {
	slices.SortFunc(rows, func(a, b IndexRow) int {
		return cmp.Or(strings.Compare(a.Endpoint, b.Endpoint), strings.Compare(a.Counter, b.Counter), cmp.Compare(b.Ts, a.Ts))
	})
	return slices.CompactFunc(rows, func(a, b IndexRow) bool {
		return a.Endpoint == b.Endpoint && a.Counter == b.Counter
	})
}

// indexTx is one transaction on the index.
type indexTx struct {
	ctx context.Context
	*sqlx.Tx
	dialect dialect
}

// write enters rows whose endpoints have these ids.
func (tx indexTx) write(ids, seen map[string]int64, rows []IndexRow) error {
	// First, and for every endpoint: while its row is locked nobody deletes it,
	// and nobody else writes below it, so what follows meets no other writer of
	// ours. Stock's writers lock nothing; they are met by the duplicates.
	all, err := tx.touch(ids, seen)
	if err != nil {
		return err
	}
	if !all {
		return errStale
	}

	tags := map[entryKey]indexEntry{}
	counters := make([]indexEntry, 0, len(rows))
	for _, r := range rows {
		id := ids[r.Endpoint]
		counters = append(counters, indexEntry{entryKey{id, r.Counter}, r.Step, r.Type, r.Ts})
		if r.Tags == "" {
			continue
		}
		for tag := range strings.SplitSeq(r.Tags, ",") {
			k := entryKey{id, tag}
			tags[k] = indexEntry{entryKey: k, ts: max(tags[k].ts, r.Ts)}
		}
	}
	if err := tx.writeEntries(tagTable, slices.Collect(maps.Values(tags))); err != nil {
		return err
	}
	return tx.writeEntries(counterTable, counters)
}

// An EndpointCache remembers ids of endpoints for IndexWrite. It is bounded, and
// safe for use by several writers; an id in it may be out of date, which
// IndexWrite notices.
type EndpointCache struct {
	max int
	mu  sync.Mutex
	ids map[string]int64
}

// NewEndpointCache returns a cache for at most max endpoints.
func NewEndpointCache(max int) *EndpointCache {
	return &EndpointCache{max: max, ids: map[string]int64{}}
}

// get splits names into those whose ids are known and the others.
func (c *EndpointCache) get(names map[string]int64) (known map[string]int64, unknown []string) {
	known = make(map[string]int64, len(names))
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range names {
		if id, ok := c.ids[name]; ok {
			known[name] = id
		} else {
			unknown = append(unknown, name)
		}
	}
	return known, unknown
}

func (c *EndpointCache) put(ids map[string]int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, id := range ids {
		// A full cache loses any other entry: which one hardly matters, since
		// all endpoints of a graph are written equally often.
		for old := range c.ids {
			if len(c.ids) < c.max {
				break
			}
			delete(c.ids, old)
		}
		c.ids[name] = id
	}
}

func (c *EndpointCache) forget(names map[string]int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range names {
		delete(c.ids, name)
	}
}

// Len returns how many ids are kept.
func (c *EndpointCache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.ids)
}
