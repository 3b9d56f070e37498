package portal

import (
	"context"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"
)

// Widget is a row of dashboard_graph: a graph on a screen. Its JSON is stock's.
type Widget struct {
	ID         int64    `json:"graph_id"`
	Title      string   `json:"title"`
	Endpoints  []string `json:"endpoints"` // sorted
	Counters   []string `json:"counters"`  // sorted
	Screen     int64    `json:"screen_id"`
	Type       string   `json:"graph_type"` // h, k or a
	Timespan   int64    `json:"timespan"`   // seconds up to now
	Method     string   `json:"method"`     // how lines are joined to one, "" for not at all
	Position   int64    `json:"position"`
	FalconTags string   `json:"falcon_tags"`
}

// What a graph draws: a chart for each counter with many hosts, a chart for each host
// with many counters, or everything in one.
var widgetTypes = []string{"h", "k", "a"}

var widgetMethods = []string{"", "SUM", "AVERAGE", "MAX", "MIN", "LAST"}

// DefaultTimespan is what a graph shows when nobody says, in seconds.
const DefaultTimespan = 3600

type widgetRow struct {
	ID         int64  `db:"id"`
	Title      string `db:"title"`
	Hosts      string `db:"hosts"`
	Counters   string `db:"counters"`
	Screen     int64  `db:"screen_id"`
	Timespan   int64  `db:"timespan"`
	Type       string `db:"graph_type"`
	Method     string `db:"method"`
	Position   int64  `db:"position"`
	FalconTags string `db:"falcon_tags"`
}

const widgetColumns = "id, title, hosts, counters, screen_id, timespan, graph_type, COALESCE(method, '') AS method, position, falcon_tags"

func (r *widgetRow) widget() Widget {
	return Widget{
		ID: r.ID, Title: r.Title, Endpoints: splitBar(r.Hosts), Counters: splitBar(r.Counters), Screen: r.Screen, Type: r.Type,
		Timespan: r.Timespan, Method: strings.TrimSpace(r.Method), Position: r.Position, FalconTags: r.FalconTags, // stock writes no method as a blank
	}
}

// splitBar reads a list of stock's that is joined by |.
func splitBar(text string) []string {
	if text == "" {
		return []string{}
	}
	return strings.Split(text, "|")
}

// joinBar sorts a list and joins it by |, as stock does, and says why field can not be
// stored in a column of max characters.
func joinBar(field string, list []string, max int) (string, error) {
	for _, item := range list {
		if item == "" || strings.Contains(item, "|") {
			return "", invalidField(field, "%s: %q can not stand in a list that is joined by |", field, item)
		}
	}
	text := strings.Join(slices.Sorted(slices.Values(list)), "|")
	return text, fitAll(fit{field, text, max})
}

// row checks a graph and turns it into what is stored.
func (w *Widget) row() (r widgetRow, err error) {
	r = widgetRow{
		ID: w.ID, Title: strings.TrimRight(w.Title, " "), Screen: w.Screen, Timespan: w.Timespan, Type: w.Type,
		Method: strings.TrimSpace(w.Method), Position: w.Position, FalconTags: w.FalconTags,
	}
	switch {
	case r.Title == "":
		return r, invalidField("title", "a graph needs a title")
	case !slices.Contains(widgetTypes, r.Type):
		return r, invalidField("graph_type", `graph_type %q is unknown, use "h" (a chart for each counter), "k" (a chart for each endpoint) or "a" (all in one)`, r.Type)
	case !slices.Contains(widgetMethods, strings.ToUpper(r.Method)):
		return r, invalidField("method", "method %q is unknown, use SUM, AVERAGE, MAX, MIN, LAST or nothing", r.Method)
	case r.Timespan <= 0 || r.Timespan > 1<<32-1:
		return r, invalidField("timespan", "timespan %d is not a number of seconds above 0", r.Timespan)
	case r.Position < 0 || r.Position > 1<<32-1:
		return r, invalidField("position", "position %d is not a number from 0", r.Position)
	}
	if r.Hosts, err = joinBar("endpoints", w.Endpoints, 10240); err != nil {
		return r, err
	}
	if r.Counters, err = joinBar("counters", w.Counters, 1024); err != nil {
		return r, err
	}
	return r, fitAll(fit{"title", r.Title, 128}, fit{"falcon_tags", r.FalconTags, 512})
}

func (r *widgetRow) values() []any {
	return []any{r.Title, r.Hosts, r.Counters, r.Screen, r.Timespan, r.Type, r.Method, r.Position, r.FalconTags}
}

// Widget returns a graph, or ErrNotFound.
func (db *DB) Widget(ctx context.Context, id int64) (*Widget, error) {
	var r widgetRow
	if err := db.Dashboard.read.GetContext(ctx, &r, "SELECT "+widgetColumns+" FROM dashboard_graph WHERE id = ?", id); err != nil {
		return nil, notFound(err)
	}
	w := r.widget()
	return &w, nil
}

// Widgets returns the graphs of a screen as they stand on it, up to limit.
func (db *DB) Widgets(ctx context.Context, screen int64, limit int) ([]Widget, error) {
	var rows []widgetRow
	err := db.Dashboard.read.SelectContext(ctx, &rows, "SELECT "+widgetColumns+" FROM dashboard_graph WHERE screen_id = ? ORDER BY position, id LIMIT ?", screen, max(limit, 1))
	all := make([]Widget, len(rows))
	for i := range rows {
		all[i] = rows[i].widget()
	}
	return all, err
}

// lockScreen keeps a screen there while a graph is put on it.
func lockScreen(ctx context.Context, tx *sqlx.Tx, d dialect, id int64) error {
	var n int
	if err := tx.GetContext(ctx, &n, "SELECT COUNT(*) FROM dashboard_screen WHERE id = ?"+d.forUpdate(), id); err != nil {
		return err
	}
	if n == 0 {
		return invalidField("screen_id", "there is no screen with id %d", id)
	}
	return nil
}

// CreateWidget puts a graph on a screen and returns its id.
func (db *DB) CreateWidget(ctx context.Context, w Widget) (id int64, err error) {
	r, err := w.row()
	if err != nil {
		return 0, err
	}
	err = db.Dashboard.Tx(ctx, func(tx *sqlx.Tx) error {
		if err := lockScreen(ctx, tx, db.Dashboard.dialect, r.Screen); err != nil {
			return err
		}
		id, err = insert(ctx, tx, "INSERT INTO dashboard_graph (title, hosts, counters, screen_id, timespan, graph_type, method, position, falcon_tags)"+
			" VALUES ("+marks(9)+")", r.values()...)
		return err
	})
	return id, err
}

// UpdateWidget overwrites the graph w.ID; ErrNotFound when there is none.
func (db *DB) UpdateWidget(ctx context.Context, w Widget) error {
	r, err := w.row()
	if err != nil {
		return err
	}
	return db.Dashboard.Tx(ctx, func(tx *sqlx.Tx) error {
		var screen int64
		if err := tx.GetContext(ctx, &screen, "SELECT screen_id FROM dashboard_graph WHERE id = ?"+db.Dashboard.dialect.forUpdate(), r.ID); err != nil {
			return notFound(err)
		}
		if screen != r.Screen { // one whose screen stock has deleted can be changed as it is
			if err := lockScreen(ctx, tx, db.Dashboard.dialect, r.Screen); err != nil {
				return err
			}
		}
		res, err := tx.ExecContext(ctx, "UPDATE dashboard_graph SET title = ?, hosts = ?, counters = ?, screen_id = ?, timespan = ?, graph_type = ?, method = ?,"+
			" position = ?, falcon_tags = ? WHERE id = ?", append(r.values(), r.ID)...)
		return one(res, err)
	})
}

// DeleteWidget removes a graph; ErrNotFound when there is none.
func (db *DB) DeleteWidget(ctx context.Context, id int64) error {
	return db.Dashboard.Tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, "DELETE FROM dashboard_graph WHERE id = ?", id)
		return one(res, err)
	})
}
