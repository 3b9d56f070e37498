package portal

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
)

// A DisableType says what a Disable silences. The numbers are those of the table.
type DisableType int

// The five kinds of disabling (contract alerting 3.5).
const (
	DisableHost           DisableType = 1 // a host: strategies and expressions
	DisableTemplate       DisableType = 2 // what a template owns, wherever it is inherited, and what comes through it
	DisableStrategy       DisableType = 3 // a strategy, everywhere
	DisableStrategyOnHost DisableType = 4 // a strategy on one host
	DisableBinding        DisableType = 5 // a template on a group, as if it were not bound
)

// Known says whether t is one of the five.
func (t DisableType) Known() bool { return t >= DisableHost && t <= DisableBinding }

// String returns the kind in words.
func (t DisableType) String() string {
	if !t.Known() {
		return fmt.Sprintf("type %d", int(t))
	}
	return [...]string{"the host", "the template", "the strategy", "the strategy on this host", "the template on this group"}[t-1]
}

// A DisableDuration is for how long something may be disabled.
type DisableDuration struct {
	Name string
	For  time.Duration
}

// DisableDurations are all there are, the shortest first: nothing is disabled for ever.
var DisableDurations = []DisableDuration{
	{"10m", 10 * time.Minute}, {"30m", 30 * time.Minute}, {"1h", time.Hour}, {"3h", 3 * time.Hour}, {"6h", 6 * time.Hour},
	{"1d", 24 * time.Hour}, {"3d", 3 * 24 * time.Hour}, {"1w", 7 * 24 * time.Hour}, {"2w", 14 * 24 * time.Hour},
}

// MaxSilence is the longest that something may be silent by itself: two weeks.
const MaxSilence = 14 * 24 * time.Hour

// ParseDisableDuration reads one of DisableDurations; the error lists them.
func ParseDisableDuration(text string) (time.Duration, error) {
	var all []string
	for _, d := range DisableDurations {
		if d.Name == text {
			return d.For, nil
		}
		all = append(all, d.Name)
	}
	return 0, invalidField("duration", "duration %q is none of %s", text, strings.Join(all, " "))
}

// Disable is a row of alarm_disable. Ids that its type does not use are 0.
type Disable struct {
	ID       int64       `db:"id" json:"id"`
	Type     DisableType `db:"type" json:"type"`
	Host     int64       `db:"host_id" json:"host_id"`
	Template int64       `db:"tpl_id" json:"tpl_id"`
	Strategy int64       `db:"strategy_id" json:"strategy_id"`
	Group    int64       `db:"grp_id" json:"grp_id"`
	// It is in force from Begin to before End, Unix seconds, unless it was cancelled.
	Begin      int64  `db:"begin_ts" json:"begin_ts"`
	End        int64  `db:"end_ts" json:"end_ts"`
	Duration   string `db:"duration" json:"duration"`
	Reason     string `db:"reason" json:"reason"`
	Operator   string `db:"operator" json:"operator"`
	CancelTS   int64  `db:"cancel_ts" json:"cancel_ts"` // 0: it was not
	CancelUser string `db:"cancel_user" json:"cancel_user"`
}

const disableColumns = "d.id, d.type, d.host_id, d.tpl_id, d.strategy_id, d.grp_id, d.begin_ts, d.end_ts, d.duration, d.reason, d.operator, d.cancel_ts, d.cancel_user"

// Active says whether d is in force at now, Unix seconds.
func (d *Disable) Active(now int64) bool { return d.CancelTS == 0 && d.Begin <= now && now < d.End }

// NamedDisable is a Disable with the names of what it silences; what is gone has none.
type NamedDisable struct {
	Disable
	Hostname     string `db:"hostname" json:"hostname"`
	TemplateName string `db:"tpl_name" json:"tpl_name"`
	Metric       string `db:"metric" json:"metric"` // of the strategy
	Note         string `db:"note" json:"note"`     // of the strategy
	GroupName    string `db:"grp_name" json:"grp_name"`
}

// DisableFilter selects disables; fields that are 0 select nothing away.
type DisableFilter struct {
	ActiveAt                        int64 // Unix seconds
	ID                              int64
	Type                            DisableType
	Host, Template, Strategy, Group int64
}

const disableNames = "alarm_disable d LEFT JOIN host h ON h.id = d.host_id AND d.host_id > 0 LEFT JOIN strategy s ON s.id = d.strategy_id AND d.strategy_id > 0" +
	" LEFT JOIN tpl t ON t.id = CASE WHEN d.tpl_id > 0 THEN d.tpl_id ELSE s.tpl_id END LEFT JOIN grp g ON g.id = d.grp_id AND d.grp_id > 0"

// Disables returns a page of the disables that the filter selects, those that end last
// first, and how many there are in all. The template of one of a strategy is the
// strategy's.
func (db *DB) Disables(ctx context.Context, f DisableFilter, limit, offset int) (page []NamedDisable, total int, err error) {
	var where conditions
	if f.ActiveAt != 0 {
		where.add("d.cancel_ts = 0 AND d.begin_ts <= ? AND d.end_ts > ?", f.ActiveAt, f.ActiveAt)
	}
	for _, c := range []struct {
		column string
		value  int64
	}{{"d.id", f.ID}, {"d.type", int64(f.Type)}, {"d.host_id", f.Host}, {"d.strategy_id", f.Strategy}, {"d.grp_id", f.Group}} {
		if c.value != 0 {
			where.add(c.column+" = ?", c.value)
		}
	}
	if f.Template != 0 { // its strategies, too
		where.add("(d.tpl_id = ? OR s.tpl_id = ?)", f.Template, f.Template)
	}
	page = []NamedDisable{}
	err = db.Portal.page(ctx, &page, &total, disableColumns+", COALESCE(h.hostname, '') AS hostname, COALESCE(t.tpl_name, '') AS tpl_name, COALESCE(s.metric, '') AS metric,"+
		" COALESCE(s.note, '') AS note, COALESCE(g.grp_name, '') AS grp_name", disableNames+where.sql(), "d.end_ts DESC, d.id DESC", where.args, limit, offset)
	return page, total, err
}

// Disable returns a disable, or ErrNotFound.
func (db *DB) Disable(ctx context.Context, id int64) (*NamedDisable, error) {
	page, _, err := db.Disables(ctx, DisableFilter{ID: id}, 1, 0)
	if err != nil {
		return nil, err
	}
	if len(page) == 0 {
		return nil, ErrNotFound
	}
	return &page[0], nil
}

// DisabledHosts returns until when those of hosts are disabled that are so at now, by id,
// both in Unix seconds.
func (db *DB) DisabledHosts(ctx context.Context, hosts []int64, now int64) (map[int64]int64, error) {
	until := map[int64]int64{}
	for chunk := range slices.Chunk(hosts, maxMarks) {
		var rows []Disable
		err := db.Portal.read.SelectContext(ctx, &rows, "SELECT "+disableColumns+" FROM alarm_disable d WHERE d.type = ? AND d.cancel_ts = 0 AND d.begin_ts <= ?"+
			" AND d.end_ts > ? AND d.host_id IN ("+marks(len(chunk))+")", append([]any{int(DisableHost), now, now}, anys(chunk)...)...)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			until[r.Host] = max(until[r.Host], r.End)
		}
	}
	return until, nil
}

// CreateDisable writes a disable and returns its id. It must be of a known type, and end
// within two weeks of its begin.
func (db *DB) CreateDisable(ctx context.Context, d Disable) (id int64, err error) {
	switch {
	case !d.Type.Known():
		return 0, invalidField("type", "type %d is unknown, use 1 to 5", int(d.Type))
	case d.Begin <= 0 || d.End <= d.Begin || d.End-d.Begin > int64(MaxSilence/time.Second):
		return 0, invalidField("duration", "from %d to %d is not a time of up to two weeks", d.Begin, d.End)
	}
	if max(d.Host, d.Template, d.Strategy, d.Group) > math.MaxUint32 { // hosts of the fork have wider ids
		return 0, invalid("an id of %d does not fit into the table of disables", max(d.Host, d.Template, d.Strategy, d.Group))
	}
	if err := fitAll(fit{"reason", d.Reason, 255}, fit{"duration", d.Duration, 4}); err != nil {
		return 0, err
	}
	err = db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		id, err = insert(ctx, tx, "INSERT INTO alarm_disable (type, host_id, tpl_id, strategy_id, grp_id, begin_ts, end_ts, duration, reason, operator)"+
			" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", int(d.Type), d.Host, d.Template, d.Strategy, d.Group, d.Begin, d.End, d.Duration, d.Reason, clip(d.Operator, 64))
		return err
	})
	return id, err
}

// CancelDisable ends a disable at now, Unix seconds. ErrNotFound when there is none, an
// *InvalidError when it is over already.
func (db *DB) CancelDisable(ctx context.Context, id int64, user string, now int64) error {
	return db.Portal.Tx(ctx, func(tx *sqlx.Tx) error {
		var d Disable
		if err := tx.GetContext(ctx, &d, "SELECT "+disableColumns+" FROM alarm_disable d WHERE d.id = ?"+db.Portal.dialect.forUpdate(), id); err != nil {
			return notFound(err)
		}
		switch {
		case d.CancelTS != 0:
			return invalid("it was ended at %s by %s", time.Unix(d.CancelTS, 0).UTC().Format("2006-01-02 15:04:05 UTC"), d.CancelUser)
		case d.End <= now:
			return invalid("it is over since %s", time.Unix(d.End, 0).UTC().Format("2006-01-02 15:04:05 UTC"))
		}
		_, err := tx.ExecContext(ctx, "UPDATE alarm_disable SET cancel_ts = ?, cancel_user = ? WHERE id = ?", now, clip(user, 64), id)
		return err
	})
}

// A Silence is a disable that is not over, with what it silences spelled out: an event
// is compared with it without asking the portal.
type Silence struct {
	ID       int64       `json:"id"`
	Type     DisableType `json:"type"`
	Begin    int64       `json:"begin_ts"`
	End      int64       `json:"end_ts"`
	Reason   string      `json:"reason"`
	Operator string      `json:"operator"`
	// Hosts are those of types 1, 4 and 5. Of 5 they are the hosts of the group that have
	// the template through no other binding.
	Hosts []string `json:"hosts"`
	// Template is the leaf of types 2 and 5.
	Template int `json:"tpl_id"`
	// Strategies are those of types 3 and 4, and those that the template of type 2 owns.
	Strategies []int `json:"strategies"`
}

// Silences returns what is disabled at now, and what will be.
func (db *DB) Silences(ctx context.Context, now time.Time) ([]Silence, error) {
	var rows []struct {
		Disable
		Hostname string `db:"hostname"`
	}
	read := db.Portal.read
	err := read.SelectContext(ctx, &rows, "SELECT "+disableColumns+", COALESCE(h.hostname, '') AS hostname FROM alarm_disable d"+
		" LEFT JOIN host h ON h.id = d.host_id AND d.host_id > 0 WHERE d.cancel_ts = 0 AND d.end_ts > ? ORDER BY d.id", now.Unix())
	if err != nil {
		return nil, fmt.Errorf("read what is disabled: %w", err)
	}
	closed := map[int64][]int64{} // groups on which a template is disabled now
	for _, r := range rows {
		if r.Type == DisableBinding && r.Active(now.Unix()) {
			closed[r.Template] = append(closed[r.Template], r.Group)
		}
	}
	all := make([]Silence, 0, len(rows))
	for _, r := range rows {
		s := Silence{ID: r.ID, Type: r.Type, Begin: r.Begin, End: r.End, Reason: r.Reason, Operator: r.Operator, Hosts: []string{}, Strategies: []int{}}
		switch r.Type {
		case DisableHost:
			s.Hosts = append(s.Hosts, r.Hostname)
		case DisableTemplate:
			s.Template = int(r.Template)
			err = read.SelectContext(ctx, &s.Strategies, "SELECT id FROM strategy WHERE tpl_id = ? ORDER BY id", r.Template)
		case DisableStrategy:
			s.Strategies = append(s.Strategies, int(r.Strategy))
		case DisableStrategyOnHost:
			s.Hosts, s.Strategies = append(s.Hosts, r.Hostname), append(s.Strategies, int(r.Strategy))
		case DisableBinding:
			s.Template = int(r.Template)
			s.Hosts, err = db.hostsOnlyThrough(ctx, r.Group, r.Template, closed[r.Template])
		default:
			continue // of a later release
		}
		if err != nil {
			return nil, fmt.Errorf("read what is disabled: %w", err)
		}
		all = append(all, s)
	}
	return all, nil
}

// hostsOnlyThrough returns the hosts of a group that have a template through none but
// the closed groups, sorted.
func (db *DB) hostsOnlyThrough(ctx context.Context, group, template int64, closed []int64) ([]string, error) {
	if !slices.Contains(closed, group) { // it is not yet in force
		closed = append(slices.Clip(closed), group)
	}
	hosts, kept := []string{}, []string{}
	err := db.Portal.read.SelectContext(ctx, &hosts, "SELECT DISTINCT h.hostname FROM grp_host gh JOIN host h ON h.id = gh.host_id WHERE gh.grp_id = ?", group)
	if err != nil {
		return nil, err
	}
	args := append([]any{template}, anys(closed)...)
	err = db.Portal.read.SelectContext(ctx, &kept, "SELECT h.hostname FROM grp_tpl b JOIN grp_host gh ON gh.grp_id = b.grp_id JOIN host h ON h.id = gh.host_id"+
		" WHERE b.tpl_id = ? AND b.grp_id NOT IN ("+marks(len(closed))+")"+
		" UNION SELECT h.hostname FROM grp_tpl_env b JOIN grp_host gh ON gh.grp_id = b.grp_id JOIN host h ON h.id = gh.host_id"+
		" JOIN host_env e ON e.hostname = h.hostname AND e.env = b.env WHERE b.tpl_id = ? AND b.grp_id NOT IN ("+marks(len(closed))+")", append(args, args...)...)
	if err != nil {
		return nil, err
	}
	have := make(map[string]bool, len(kept))
	for _, h := range kept {
		have[h] = true
	}
	hosts = slices.DeleteFunc(hosts, func(h string) bool { return have[h] })
	slices.Sort(hosts)
	return hosts, nil
}
