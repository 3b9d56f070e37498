package portal

import (
	"context"
	"maps"
	"slices"

	"github.com/jmoiron/sqlx"
)

// An IndexKey names a series in the index.
type IndexKey struct {
	Endpoint string
	Counter  string
}

// IndexDelete removes series from the index, with the tags that no other counter
// of their endpoint has, and endpoints that have no counter left. A series that
// reported at before (Unix seconds) or later stays, since another graph node
// holds it; before 0 removes it in any case. It returns how many counters went.
func (db *DB) IndexDelete(ctx context.Context, keys []IndexKey, before int64) (counters int, err error) {
	byEndpoint := map[string][]string{}
	for _, k := range keys {
		byEndpoint[k.Endpoint] = append(byEndpoint[k.Endpoint], k.Counter)
	}
	// An endpoint a transaction: nobody waits for the rest of a long list.
	for _, endpoint := range slices.Sorted(maps.Keys(byEndpoint)) {
		var n int
		err := db.Graph.Tx(ctx, func(tx *sqlx.Tx) error {
			var err error
			n, err = indexTx{ctx, tx, db.Graph.dialect}.deleteCounters(endpoint, byEndpoint[endpoint], before)
			return err
		})
		if err != nil {
			return counters, err
		}
		counters += n
	}
	return counters, nil
}

// deleteCounters locks the endpoint's row first, as IndexWrite does, so that
// nothing is entered below an endpoint that is about to go.
func (tx indexTx) deleteCounters(endpoint string, counters []string, before int64) (deleted int, err error) {
	ids, err := tx.lockEndpoints([]string{endpoint})
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	id := ids[0]
	var dead []int64
	for chunk := range slices.Chunk(counters, maxMarks) {
		query := "SELECT id FROM endpoint_counter WHERE endpoint_id = ? AND counter IN (" + marks(len(chunk)) + ")"
		args := append([]any{id}, anys(chunk)...)
		if before > 0 {
			query, args = query+" AND COALESCE(ts, 0) < ?", append(args, before)
		}
		var some []int64
		if err := tx.SelectContext(tx.ctx, &some, query, args...); err != nil {
			return 0, err
		}
		dead = append(dead, some...)
	}
	slices.Sort(dead)
	dead = slices.Compact(dead)
	if err := tx.deleteByID("endpoint_counter", dead); err != nil {
		return 0, err
	}
	if err := tx.sweepTags(id); err != nil {
		return 0, err
	}
	var left int
	if err := tx.GetContext(tx.ctx, &left, "SELECT COUNT(*) FROM endpoint_counter WHERE endpoint_id = ?", id); err != nil {
		return 0, err
	}
	if left == 0 && len(dead) > 0 {
		err = tx.deleteByID("endpoint", []int64{id})
	}
	return len(dead), err
}

// DeleteEndpoints removes endpoints with all their tags and counters, whoever
// wrote them, and returns how many of each there were. A live one comes back with
// its next report.
func (db *DB) DeleteEndpoints(ctx context.Context, names []string) (endpoints, counters int, err error) {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	for chunk := range slices.Chunk(names, 50) {
		var e, c int
		err := db.Graph.Tx(ctx, func(tx *sqlx.Tx) error {
			e, c = 0, 0
			t := indexTx{ctx, tx, db.Graph.dialect}
			ids, err := t.lockEndpoints(chunk)
			if err != nil || len(ids) == 0 {
				return err
			}
			in := " WHERE endpoint_id IN (" + marks(len(ids)) + ")"
			n, err := t.exec("DELETE FROM endpoint_counter"+in, anys(ids)...)
			if err != nil {
				return err
			}
			if _, err := t.exec("DELETE FROM tag_endpoint"+in, anys(ids)...); err != nil {
				return err
			}
			e, c = len(ids), int(n)
			return t.deleteByID("endpoint", ids)
		})
		if err != nil {
			return endpoints, counters, err
		}
		endpoints, counters = endpoints+e, counters+c
	}
	return endpoints, counters, nil
}

// lockEndpoints returns the ids of the named endpoints that exist, ascending, and
// locks their rows in that order.
func (tx indexTx) lockEndpoints(names []string) ([]int64, error) {
	var ids []int64
	err := tx.SelectContext(tx.ctx, &ids, "SELECT id FROM endpoint WHERE endpoint IN ("+marks(len(names))+") ORDER BY id", anys(names)...)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	var locked []int64
	err = tx.SelectContext(tx.ctx, &locked, "SELECT id FROM endpoint WHERE id IN ("+marks(len(ids))+") ORDER BY id"+tx.dialect.forUpdate(), anys(ids)...)
	return locked, err
}
