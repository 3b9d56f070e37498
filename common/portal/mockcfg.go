package portal

import (
	"context"
	"math"
	"slices"

	"github.com/jmoiron/sqlx"
)

// Nodata is a row of mockcfg: the value that is reported for series that went silent.
// Its JSON is stock's nodata object.
type Nodata struct {
	ID      int64   `db:"id" json:"id"`
	Name    string  `db:"name" json:"name"`
	Obj     string  `db:"obj" json:"obj"`           // names, a line each
	ObjType string  `db:"obj_type" json:"obj_type"` // what they name: group, host or other
	Metric  string  `db:"metric" json:"metric"`
	Tags    string  `db:"tags" json:"tags"` // all of the series' tags
	DsType  string  `db:"dstype" json:"dstype"`
	Step    int     `db:"step" json:"step"` // seconds
	Mock    float64 `db:"mock" json:"mock"` // the value
	Creator string  `db:"creator" json:"creator"`
}

const nodataColumns = "id, name, obj, obj_type, metric, tags, dstype, step, mock, creator"

var (
	nodataObjects = []string{"group", "host", "other"}
	nodataTypes   = []string{"GAUGE", "COUNTER", "DERIVE"}
)

func (n *Nodata) check() error {
	switch {
	case n.Name == "":
		return invalidField("name", "name is required")
	case n.Obj == "":
		return invalidField("obj", "obj is required: the names of groups or endpoints, a line each")
	case !slices.Contains(nodataObjects, n.ObjType):
		return invalidField("obj_type", `obj_type %q is unknown, use "group", "host" or "other"`, n.ObjType)
	case n.Metric == "":
		return invalidField("metric", "metric is required")
	case !slices.Contains(nodataTypes, n.DsType):
		return invalidField("dstype", "dstype %q is unknown, use GAUGE, COUNTER or DERIVE", n.DsType)
	case n.Step <= 0 || n.Step > 1<<31-1:
		return invalidField("step", "step %d is not a number of seconds above 0", n.Step)
	case math.IsNaN(n.Mock) || math.IsInf(n.Mock, 0):
		return invalidField("mock", "mock is no number")
	}
	return fitAll(fit{"name", n.Name, 255}, fit{"obj", n.Obj, 10240}, fit{"metric", n.Metric, 128}, fit{"tags", n.Tags, 1024})
}

// Nodata returns a row, or ErrNotFound.
func (db *DB) Nodata(ctx context.Context, id int64) (*Nodata, error) {
	var n Nodata
	if err := db.Portal.read.GetContext(ctx, &n, "SELECT "+nodataColumns+" FROM mockcfg WHERE id = ?", id); err != nil {
		return nil, notFound(err)
	}
	return &n, nil
}

// Nodatas returns the rows, ordered by id. Limit 0 means all.
func (db *DB) Nodatas(ctx context.Context, limit, offset int) ([]Nodata, error) {
	query, args := "SELECT "+nodataColumns+" FROM mockcfg ORDER BY id", []any(nil)
	if limit > 0 {
		query, args = query+" LIMIT ? OFFSET ?", append(args, limit, max(offset, 0))
	}
	all := []Nodata{}
	err := db.Portal.read.SelectContext(ctx, &all, query, args...)
	return all, err
}

// CreateNodata makes a row and returns its id; ErrExists when the name is taken.
func (db *DB) CreateNodata(ctx context.Context, n Nodata) (id int64, err error) {
	if err := n.check(); err != nil {
		return 0, err
	}
	err = db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		id, err = insert(ctx, tx, "INSERT INTO mockcfg (name, obj, obj_type, metric, tags, dstype, step, mock, creator, t_create) VALUES ("+marks(9)+", CURRENT_TIMESTAMP)",
			n.Name, n.Obj, n.ObjType, n.Metric, n.Tags, n.DsType, n.Step, n.Mock, clip(n.Creator, 64))
		return err
	})
	return id, err
}

// UpdateNodata overwrites the row n.ID, but for its name and who made it; ErrNotFound
// when there is none.
func (db *DB) UpdateNodata(ctx context.Context, n Nodata) error {
	if err := n.check(); err != nil {
		return err
	}
	return db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, "UPDATE mockcfg SET obj = ?, obj_type = ?, metric = ?, tags = ?, dstype = ?, step = ?, mock = ?, t_modify = CURRENT_TIMESTAMP WHERE id = ?",
			n.Obj, n.ObjType, n.Metric, n.Tags, n.DsType, n.Step, n.Mock, n.ID)
		return one(res, err)
	})
}

// DeleteNodata removes a row; ErrNotFound when there is none.
func (db *DB) DeleteNodata(ctx context.Context, id int64) error {
	return db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, "DELETE FROM mockcfg WHERE id = ?", id)
		return one(res, err)
	})
}
