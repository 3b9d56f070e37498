package portal

import (
	"context"
	"errors"

	"github.com/jmoiron/sqlx"
)

// Aggregator is a row of cluster: a metric that is computed over the hosts of a group.
// Its JSON is stock's aggregator object.
type Aggregator struct {
	ID          int64  `db:"id" json:"id"`
	Group       int64  `db:"grp_id" json:"grp_id"`
	Numerator   string `db:"numerator" json:"numerator"`
	Denominator string `db:"denominator" json:"denominator"`
	Endpoint    string `db:"endpoint" json:"endpoint"` // of the result
	Metric      string `db:"metric" json:"metric"`
	Tags        string `db:"tags" json:"tags"`
	DsType      string `db:"ds_type" json:"ds_type"`
	Step        int    `db:"step" json:"step"` // seconds
	Creator     string `db:"creator" json:"creator"`
}

const aggregatorColumns = "id, grp_id, numerator, denominator, endpoint, metric, tags, ds_type, step, creator"

func (a *Aggregator) check() error {
	for _, f := range []struct{ name, text string }{
		{"numerator", a.Numerator}, {"denominator", a.Denominator}, {"endpoint", a.Endpoint}, {"metric", a.Metric},
	} {
		if f.text == "" {
			return invalidField(f.name, "%s is required", f.name)
		}
	}
	if a.Step <= 0 || a.Step > 1<<31-1 {
		return invalidField("step", "step %d is not a number of seconds above 0", a.Step)
	}
	return fitAll(fit{"numerator", a.Numerator, 10240}, fit{"denominator", a.Denominator, 10240}, fit{"endpoint", a.Endpoint, 255}, fit{"metric", a.Metric, 255},
		fit{"tags", a.Tags, 255}, fit{"ds_type", a.DsType, 255})
}

// Aggregator returns an aggregator, or ErrNotFound.
func (db *DB) Aggregator(ctx context.Context, id int64) (*Aggregator, error) {
	var a Aggregator
	if err := db.Portal.read.GetContext(ctx, &a, "SELECT "+aggregatorColumns+" FROM cluster WHERE id = ?", id); err != nil {
		return nil, notFound(err)
	}
	return &a, nil
}

// GroupAggregators returns the aggregators of a group, ordered by id. Limit 0 means all.
func (db *DB) GroupAggregators(ctx context.Context, group int64, limit, offset int) ([]Aggregator, error) {
	query, args := "SELECT "+aggregatorColumns+" FROM cluster WHERE grp_id = ? ORDER BY id", []any{group}
	if limit > 0 {
		query, args = query+" LIMIT ? OFFSET ?", append(args, limit, max(offset, 0))
	}
	all := []Aggregator{}
	err := db.Portal.read.SelectContext(ctx, &all, query, args...)
	return all, err
}

// A DatedAggregator is an aggregator with the time of its last change.
type DatedAggregator struct {
	Aggregator
	// LastUpdate is that time as the database writes it, by the second: something to
	// compare with an earlier one, and to show.
	LastUpdate string `db:"last_update" json:"last_update"`
}

// AggregatorsBetween returns the aggregators with ids from first to last, both
// included, ordered by id. A negative bound is open.
func (db *DB) AggregatorsBetween(ctx context.Context, first, last int64) ([]DatedAggregator, error) {
	query, args := "SELECT "+aggregatorColumns+", CAST(last_update AS CHAR) AS last_update FROM cluster WHERE id >= ?", []any{max(first, 0)}
	if last >= 0 {
		query, args = query+" AND id <= ?", append(args, last)
	}
	all := []DatedAggregator{}
	err := db.Portal.read.SelectContext(ctx, &all, query+" ORDER BY id", args...)
	return all, err
}

// CreateAggregator makes an aggregator of a group, which must exist, and returns its id.
func (db *DB) CreateAggregator(ctx context.Context, a Aggregator) (id int64, err error) {
	if err := a.check(); err != nil {
		return 0, err
	}
	err = db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		var group int64
		err := notFound(tx.GetContext(ctx, &group, "SELECT id FROM grp WHERE id = ?"+db.Portal.dialect.forUpdate(), a.Group))
		if errors.Is(err, ErrNotFound) {
			return invalidField("hostgroup_id", "there is no group with id %d", a.Group)
		}
		if err != nil {
			return err
		}
		id, err = insert(ctx, tx, "INSERT INTO cluster (grp_id, numerator, denominator, endpoint, metric, tags, ds_type, step, creator) VALUES ("+marks(9)+")",
			a.Group, a.Numerator, a.Denominator, a.Endpoint, a.Metric, a.Tags, a.DsType, a.Step, clip(a.Creator, 255))
		return err
	})
	return id, err
}

// UpdateAggregator overwrites the aggregator a.ID, but for its group and who made it;
// ErrNotFound when there is none.
func (db *DB) UpdateAggregator(ctx context.Context, a Aggregator) error {
	if err := a.check(); err != nil {
		return err
	}
	return db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, "UPDATE cluster SET numerator = ?, denominator = ?, endpoint = ?, metric = ?, tags = ?, ds_type = ?, step = ?,"+
			" last_update = CURRENT_TIMESTAMP WHERE id = ?", a.Numerator, a.Denominator, a.Endpoint, a.Metric, a.Tags, a.DsType, a.Step, a.ID)
		return one(res, err)
	})
}

// DeleteAggregator removes an aggregator; ErrNotFound when there is none.
func (db *DB) DeleteAggregator(ctx context.Context, id int64) error {
	return db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, "DELETE FROM cluster WHERE id = ?", id)
		return one(res, err)
	})
}
