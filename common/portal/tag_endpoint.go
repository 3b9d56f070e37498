package portal

import (
	"context"
	"slices"
	"strings"
)

// TagsByEndpointID returns the tags of an endpoint, k=v each, in ascending order.
func (db *DB) TagsByEndpointID(ctx context.Context, id int64) ([]string, error) {
	tags := []string{}
	err := db.Graph.read.SelectContext(ctx, &tags, "SELECT tag FROM tag_endpoint WHERE endpoint_id = ? ORDER BY tag", id)
	return tags, err
}

// sweepTags deletes the tags of an endpoint that none of its counters has.
func (tx indexTx) sweepTags(endpointID int64) error {
	var counters []string
	if err := tx.SelectContext(tx.ctx, &counters, "SELECT counter FROM endpoint_counter WHERE endpoint_id = ?", endpointID); err != nil {
		return err
	}
	alive := map[string]bool{}
	for _, c := range counters {
		_, tags, _ := strings.Cut(c, "/")
		for tag := range strings.SplitSeq(tags, ",") {
			alive[fold(tag)] = true
		}
		// A metric may hold a slash itself; its tags are behind a later one.
		for i := strings.IndexByte(tags, '/'); i >= 0; i = strings.IndexByte(tags, '/') {
			tags = tags[i+1:]
			for tag := range strings.SplitSeq(tags, ",") {
				alive[fold(tag)] = true
			}
		}
	}
	var rows []struct {
		ID  int64  `db:"id"`
		Tag string `db:"tag"`
	}
	if err := tx.SelectContext(tx.ctx, &rows, "SELECT id, tag FROM tag_endpoint WHERE endpoint_id = ? ORDER BY id", endpointID); err != nil {
		return err
	}
	var dead []int64
	for _, r := range rows {
		if !alive[fold(r.Tag)] {
			dead = append(dead, r.ID)
		}
	}
	return tx.deleteByID("tag_endpoint", dead)
}

// deleteByID deletes rows in the order of their ids.
func (tx indexTx) deleteByID(table string, ids []int64) error {
	slices.Sort(ids)
	for chunk := range slices.Chunk(ids, maxMarks) {
		if _, err := tx.exec("DELETE FROM "+table+" WHERE id IN ("+marks(len(chunk))+")", anys(chunk)...); err != nil {
			return err
		}
	}
	return nil
}
