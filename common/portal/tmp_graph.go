package portal

import (
	"context"
	"errors"

	"github.com/jmoiron/sqlx"

	"falcon/common/model"
)

// TmpGraph is a row of tmp_graph: the endpoints and counters behind the link of a
// chart. Its JSON is stock's.
type TmpGraph struct {
	Endpoints []string `json:"endpoints"` // sorted
	Counters  []string `json:"counters"`  // sorted
}

// SaveTmpGraph keeps a choice of endpoints and counters and returns its id; the same
// choice in another order has the same id. made says whether it is new.
func (db *DB) SaveTmpGraph(ctx context.Context, g TmpGraph) (id int64, made bool, err error) {
	endpoints, err := joinBar("endpoints", g.Endpoints, 10240)
	if err != nil {
		return 0, false, err
	}
	counters, err := joinBar("counters", g.Counters, 10240)
	if err != nil {
		return 0, false, err
	}
	key := model.Checksum(endpoints + ":" + counters)
	find := func() error {
		return notFound(db.Dashboard.write.GetContext(ctx, &id, "SELECT id FROM tmp_graph WHERE ck = ?", key))
	}
	if err := find(); !errors.Is(err, ErrNotFound) {
		return id, false, err
	}
	err = db.Dashboard.Tx(ctx, func(tx *sqlx.Tx) error {
		id, err = insert(ctx, tx, "INSERT INTO tmp_graph (endpoints, counters, ck) VALUES (?, ?, ?)", endpoints, counters, key)
		return err
	})
	if errors.Is(err, ErrExists) { // somebody else was faster
		err = find()
		return id, false, err
	}
	return id, err == nil, err
}

// TmpGraph returns a choice, or ErrNotFound.
func (db *DB) TmpGraph(ctx context.Context, id int64) (*TmpGraph, error) {
	var r struct {
		Endpoints string `db:"endpoints"`
		Counters  string `db:"counters"`
	}
	if err := db.Dashboard.read.GetContext(ctx, &r, "SELECT endpoints, counters FROM tmp_graph WHERE id = ?", id); err != nil {
		return nil, notFound(err)
	}
	return &TmpGraph{splitBar(r.Endpoints), splitBar(r.Counters)}, nil
}
