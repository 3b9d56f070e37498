package portal

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
)

// Results of a Notice.
const (
	NoticeQueued   = "queued" // to be sent, or being sent when alarm died
	NoticeSent     = "sent"
	NoticeFailed   = "failed"
	NoticeDup      = "dup"      // judge lost its state and told it again
	NoticeAcked    = "acked"    // somebody works on it; the answer says who
	NoticeDisabled = "disabled" // somebody has disabled it; the answer says who, and until when
)

// Notice is a row of alarm_notice: one message of one event to one receiver through
// one channel.
type Notice struct {
	ID       int64     `db:"id"`
	CaseID   string    `db:"event_caseId"`
	EventTS  time.Time `db:"event_ts"`
	SendTS   time.Time `db:"send_ts"` // of the last attempt; of queueing before
	Endpoint string    `db:"endpoint"`
	Metric   string    `db:"metric"`
	Priority int       `db:"priority"`
	Status   string    `db:"status"` // PROBLEM or OK
	Step     int       `db:"step"`
	ActionID int       `db:"action_id"`
	Receiver string    `db:"receiver"` // a user's name, or the channel's
	Channel  string    `db:"channel"`
	Result   string    `db:"result"`
	Attempts int       `db:"attempts"`
	Answer   string    `db:"answer"` // what the provider said last

	// Inbox puts a new notice into the inbox of its receiver; it is no column.
	Inbox bool `db:"-"`
}

const noticeColumns = "id, event_caseId, event_ts, send_ts, endpoint, metric, priority, status, step, action_id, receiver, channel, result, attempts, answer"

// noticeKey is the unique key of alarm_notice.
type noticeKey struct {
	caseID            string
	at                int64 // Unix seconds
	status            string
	step, action      int
	receiver, channel string
}

func (n *Notice) key() noticeKey {
	return noticeKey{n.CaseID, n.EventTS.Unix(), n.Status, n.Step, n.ActionID, n.Receiver, n.Channel}
}

// clipped returns n as its columns can hold it: times in whole seconds, which MySQL would
// round.
func (n Notice) clipped() Notice {
	n.EventTS, n.SendTS = n.EventTS.Truncate(time.Second), n.SendTS.Truncate(time.Second)
	n.CaseID, n.Status, n.Receiver, n.Channel = clip(n.CaseID, 50), clip(n.Status, 8), clip(n.Receiver, 64), clip(n.Channel, 64)
	n.Endpoint, n.Metric, n.Answer = clip(n.Endpoint, 255), clip(n.Metric, 255), clip(n.Answer, 500)
	n.Result = clip(cmp.Or(n.Result, NoticeQueued), 16)
	n.Priority = min(max(n.Priority, -128), 127)
	n.Step = min(max(n.Step, math.MinInt32), math.MaxInt32)
	n.ActionID = min(max(n.ActionID, 0), math.MaxUint32)
	return n
}

// noticeChunk is how many notices one INSERT brings.
const noticeChunk = 500

// QueueNotices makes sure that each of notices has a row, in one transaction, and
// returns the rows in the order of notices. A new row has the notice's Result, or is
// queued, and stands in its receiver's inbox when the notice says so. A row that was
// there stays as it is: one that is sent says so, and its message must not be sent
// again.
func (db *DB) QueueNotices(ctx context.Context, notices []Notice) ([]Notice, error) {
	if err := db.needAlarms(); err != nil {
		return nil, err
	}
	rows := make([]Notice, 0, len(notices))
	err := db.Alarms.Tx(ctx, func(tx *sqlx.Tx) error {
		rows = rows[:0] // again in each try
		for chunk := range slices.Chunk(notices, noticeChunk) {
			wanted := make([]Notice, len(chunk))
			for i, n := range chunk {
				wanted[i] = n.clipped()
			}
			got, err := queueNotices(ctx, tx, wanted)
			if err != nil {
				return fmt.Errorf("queue %d notices: %w", len(chunk), err)
			}
			rows = append(rows, got...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

func queueNotices(ctx context.Context, tx *sqlx.Tx, wanted []Notice) ([]Notice, error) {
	made := make([]bool, len(wanted))
	seen := map[noticeKey]bool{}
	var fresh []int
	for i := range wanted {
		if k := wanted[i].key(); !seen[k] {
			seen[k] = true
			fresh = append(fresh, i)
		}
	}
	err := insertNotices(ctx, tx, wanted, fresh)
	if isDuplicate(err) {
		// Some were queued before: which ones is looked at one by one.
		for _, i := range fresh {
			if _, err := getNotice(ctx, tx, &wanted[i]); err == nil {
				continue
			} else if !errors.Is(err, sql.ErrNoRows) {
				return nil, err
			}
			switch err := insertNotices(ctx, tx, wanted, []int{i}); {
			case err == nil:
				made[i] = true
			case !isDuplicate(err):
				return nil, err
			}
		}
	} else if err != nil {
		return nil, err
	} else {
		for _, i := range fresh {
			made[i] = true
		}
	}

	rows, err := getNotices(ctx, tx, wanted)
	if err != nil {
		return nil, err
	}
	var inbox []any
	for i, n := range wanted {
		if made[i] && n.Inbox {
			inbox = append(inbox, n.Receiver, rows[i].ID, n.SendTS)
		}
	}
	if len(inbox) > 0 {
		err = insertRows(ctx, tx, "alarm_inbox (user_name, notice_id, created)", len(inbox)/3, inbox)
	}
	return rows, err
}

// insertNotices inserts those of all that which names.
func insertNotices(ctx context.Context, tx *sqlx.Tx, all []Notice, which []int) error {
	if len(which) == 0 {
		return nil
	}
	args := make([]any, 0, 14*len(which))
	for _, i := range which {
		n := &all[i]
		args = append(args, n.CaseID, n.EventTS, n.Status, n.Step, n.ActionID, n.Receiver, n.Channel, n.SendTS, n.Endpoint, n.Metric, n.Priority,
			n.Result, n.Attempts, n.Answer)
	}
	return insertRows(ctx, tx, "alarm_notice (event_caseId, event_ts, status, step, action_id, receiver, channel, send_ts, endpoint, metric, priority,"+
		" result, attempts, answer)", len(which), args)
}

func getNotice(ctx context.Context, tx *sqlx.Tx, n *Notice) (row Notice, err error) {
	err = tx.GetContext(ctx, &row, "SELECT "+noticeColumns+" FROM alarm_notice WHERE event_caseId = ? AND event_ts = ? AND status = ? AND step = ?"+
		" AND action_id = ? AND receiver = ? AND channel = ?", n.CaseID, n.EventTS, n.Status, n.Step, n.ActionID, n.Receiver, n.Channel)
	return row, err
}

// getNotices reads the rows of wanted, all of which are there.
func getNotices(ctx context.Context, tx *sqlx.Tx, wanted []Notice) ([]Notice, error) {
	first, last := wanted[0].EventTS, wanted[0].EventTS
	var ids []string
	for i := range wanted {
		n := &wanted[i]
		if n.EventTS.Before(first) {
			first = n.EventTS
		}
		if n.EventTS.After(last) {
			last = n.EventTS
		}
		ids = append(ids, n.CaseID)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	var found []Notice
	err := tx.SelectContext(ctx, &found, "SELECT "+noticeColumns+" FROM alarm_notice WHERE event_caseId IN ("+marks(len(ids))+") AND event_ts BETWEEN ? AND ?",
		append(anys(ids), first, last)...)
	if err != nil {
		return nil, err
	}
	by := make(map[noticeKey]Notice, len(found))
	for _, f := range found {
		by[f.key()] = f
	}
	rows := make([]Notice, len(wanted))
	for i := range wanted {
		row, ok := by[wanted[i].key()]
		if !ok { // written with other letters, or in an hour that the clock had twice
			if row, err = getNotice(ctx, tx, &wanted[i]); err != nil {
				return nil, err
			}
		}
		rows[i] = row
	}
	return rows, nil
}

// ClaimNotices says that the messages of notices are about to be sent: the attempts of
// each row are raised by one, if it is still queued and has the attempts that its
// notice has. The result says of which that was so; the others are somebody else's.
func (db *DB) ClaimNotices(ctx context.Context, notices []Notice) (claimed []bool, err error) {
	if err := db.needAlarms(); err != nil {
		return nil, err
	}
	claim := func(ctx context.Context, tx *sqlx.Tx, attempts int, ids []int64) (int, error) {
		res, err := tx.ExecContext(ctx, "UPDATE alarm_notice SET attempts = attempts + 1 WHERE result = ? AND attempts = ? AND id IN ("+marks(len(ids))+")",
			append([]any{NoticeQueued, attempts}, anys(ids)...)...)
		if err != nil {
			return 0, err
		}
		n, err := res.RowsAffected()
		return int(n), err
	}
	together := map[int][]int64{} // by attempts
	for _, n := range notices {
		together[n.Attempts] = append(together[n.Attempts], n.ID)
	}
	err = db.Alarms.Tx(ctx, func(tx *sqlx.Tx) error {
		for attempts, ids := range together {
			for chunk := range slices.Chunk(ids, maxMarks) {
				if n, err := claim(ctx, tx, attempts, chunk); err != nil || n != len(chunk) {
					return cmp.Or(err, errNotAll)
				}
			}
		}
		return nil
	})
	claimed = make([]bool, len(notices))
	if errors.Is(err, errNotAll) {
		err = db.Alarms.Tx(ctx, func(tx *sqlx.Tx) error {
			for i, n := range notices {
				one, err := claim(ctx, tx, n.Attempts, []int64{n.ID})
				if err != nil {
					return err
				}
				claimed[i] = one == 1
			}
			return nil
		})
		return claimed, err
	}
	for i := range claimed {
		claimed[i] = err == nil
	}
	return claimed, err
}

// StillClaimed says of which notices the rows are as claiming them has left them: queued,
// with the notice's attempts.
func (db *DB) StillClaimed(ctx context.Context, notices []Notice) ([]bool, error) {
	if err := db.needAlarms(); err != nil {
		return nil, err
	}
	attempts := map[int64]int{}
	for chunk := range slices.Chunk(notices, noticeChunk) {
		var ids []any
		for _, n := range chunk {
			ids = append(ids, n.ID)
		}
		var rows []struct {
			ID       int64 `db:"id"`
			Attempts int   `db:"attempts"`
		}
		err := db.Alarms.read.SelectContext(ctx, &rows, "SELECT id, attempts FROM alarm_notice WHERE result = ? AND id IN ("+marks(len(ids))+")", append([]any{NoticeQueued}, ids...)...)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			attempts[r.ID] = r.Attempts
		}
	}
	still := make([]bool, len(notices))
	for i, n := range notices {
		got, ok := attempts[n.ID]
		still[i] = ok && got == n.Attempts
	}
	return still, nil
}

var errNotAll = errors.New("not all notices are queued")

// SetNotices writes what became of notices: their results, how often they were tried
// and what the providers answered, in one transaction. Rows that are gone stay gone.
func (db *DB) SetNotices(ctx context.Context, notices []Notice) error {
	if err := db.needAlarms(); err != nil {
		return err
	}
	type outcome struct {
		result   string
		attempts int
		answer   string
		at       int64
	}
	alike := map[outcome][]int64{}
	var order []outcome
	for _, n := range notices {
		o := outcome{clip(n.Result, 16), n.Attempts, clip(n.Answer, 500), n.SendTS.Unix()}
		if alike[o] == nil {
			order = append(order, o)
		}
		alike[o] = append(alike[o], n.ID)
	}
	return db.Alarms.Tx(ctx, func(tx *sqlx.Tx) error {
		for _, o := range order {
			for ids := range slices.Chunk(alike[o], maxMarks) {
				// Another may have claimed a row since: what is sent stays so, and only who claimed
				// last gives a claim back.
				query, args := "attempts = ?, answer = ?, send_ts = ? WHERE result = ?", []any{o.result, o.attempts, o.answer, time.Unix(o.at, 0), NoticeQueued}
				switch o.result {
				case NoticeSent:
					query = "attempts = CASE WHEN attempts > ? THEN attempts ELSE ? END, answer = ?, send_ts = ? WHERE 1 = 1"
					args = []any{o.result, o.attempts, o.attempts, o.answer, time.Unix(o.at, 0)}
				case NoticeQueued:
					query, args = query+" AND attempts = ?", append(args, o.attempts+1)
				}
				_, err := tx.ExecContext(ctx, "UPDATE alarm_notice SET result = ?, "+query+" AND id IN ("+marks(len(ids))+")", append(args, anys(ids)...)...)
				if err != nil {
					return fmt.Errorf("write the results of %d notices: %w", len(ids), err)
				}
			}
		}
		return nil
	})
}

// Telling names what is looked up by LastTold: an event of a case, and the action that
// tells people of it.
type Telling struct {
	CaseID string
	Action int
	At     time.Time // of the event
}

// Told is what people were told of a problem through one action.
type Told struct {
	Step int       // the last one
	At   time.Time // of its event
}

// tellings is how many of them one statement looks up: SQLite joins 500 SELECTs at most.
const tellings = 200

// LastTold returns for each of asked what was told through its action of the problem that
// the case had before the event: since its last recovery. It is nil where nothing was; what
// was held back as told already, and what could not be sent, does not count.
func (db *DB) LastTold(ctx context.Context, asked []Telling) ([]*Told, error) {
	if err := db.needAlarms(); err != nil {
		return nil, err
	}
	all := make([]*Told, 0, len(asked))
	for chunk := range slices.Chunk(asked, tellings) {
		told, err := db.lastTold(ctx, chunk)
		if err != nil {
			return nil, fmt.Errorf("look up what %d cases told: %w", len(chunk), err)
		}
		all = append(all, told...)
	}
	return all, nil
}

func (db *DB) lastTold(ctx context.Context, asked []Telling) ([]*Told, error) {
	type found struct {
		N    int        `db:"n"` // in asked
		At   *time.Time `db:"at"`
		Step int        `db:"step"`
	}
	// each looks up all of asked by one statement. A round trip for each would be most of
	// what an event costs.
	each := func(query string, args func(n int) []any, use func(found)) error {
		var rows []found
		var values []any
		for n := range asked {
			values = append(values, args(n)...)
		}
		query = strings.TrimSuffix(strings.Repeat(query+" UNION ALL ", len(asked)), " UNION ALL ")
		if err := db.Alarms.read.SelectContext(ctx, &rows, query, values...); err != nil {
			return err
		}
		for _, r := range rows {
			use(r)
		}
		return nil
	}
	since := make([]time.Time, len(asked))
	for n := range since {
		since[n] = time.Unix(1, 0)
	}
	// Events are kept for days, and messages for months.
	for _, ends := range []string{
		"SELECT timestamp AS at FROM events WHERE event_caseId = ? AND status = 1 AND timestamp < ? ORDER BY timestamp DESC LIMIT 1",
		"SELECT event_ts AS at FROM alarm_notice WHERE event_caseId = ? AND event_ts < ? AND status = 'OK' ORDER BY event_ts DESC LIMIT 1",
	} {
		err := each("SELECT ? AS n, at, 0 AS step FROM ("+ends+") AS one", func(n int) []any {
			return []any{n, clip(asked[n].CaseID, 50), asked[n].At}
		}, func(f found) {
			if f.At != nil && f.At.After(since[f.N]) {
				since[f.N] = *f.At
			}
		})
		if err != nil {
			return nil, err
		}
	}
	told := make([]*Told, len(asked))
	err := each("SELECT ? AS n, event_ts AS at, step FROM alarm_notice WHERE event_caseId = ? AND event_ts >= ? AND event_ts < ?"+
		" AND status = 'PROBLEM' AND action_id = ? AND result IN (?, ?)", func(n int) []any {
		a := asked[n]
		return []any{n, clip(a.CaseID, 50), since[n], a.At, min(max(a.Action, 0), math.MaxUint32), NoticeQueued, NoticeSent}
	}, func(f found) {
		t := told[f.N]
		if t == nil {
			t = &Told{}
			told[f.N] = t
		}
		t.Step = max(t.Step, f.Step)
		if f.At != nil && f.At.After(t.At) {
			t.At = *f.At
		}
	})
	return told, err
}

// SetNotice writes what became of a notice: its result, how often it was tried and
// what the provider answered, cut to 500 characters.
func (db *DB) SetNotice(ctx context.Context, id int64, result string, attempts int, answer string, at time.Time) error {
	if err := db.needAlarms(); err != nil {
		return err
	}
	return db.Alarms.Tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, "UPDATE alarm_notice SET result = ?, attempts = ?, answer = ?, send_ts = ? WHERE id = ?",
			clip(result, 16), attempts, clip(answer, 500), at, id)
		return one(res, err)
	})
}

// CaseNotices returns the notices of a case, the newest first, limit at most.
func (db *DB) CaseNotices(ctx context.Context, caseID string, limit int) ([]Notice, error) {
	if err := db.needAlarms(); err != nil {
		return nil, err
	}
	all := []Notice{}
	err := db.Alarms.read.SelectContext(ctx, &all, "SELECT "+noticeColumns+" FROM alarm_notice WHERE event_caseId = ? ORDER BY id DESC LIMIT ?", caseID, max(limit, 1))
	return all, err
}

// InboxItem is a message in the inbox of a person.
type InboxItem struct {
	InboxID int64      `db:"inbox_id"`
	Created time.Time  `db:"created"`
	ReadAt  *time.Time `db:"read_at"`
	Notice
}

// AddInbox puts a notice into the inbox of a user; one that is there stays.
func (db *DB) AddInbox(ctx context.Context, user string, notice int64, at time.Time) error {
	if err := db.needAlarms(); err != nil {
		return err
	}
	return db.Alarms.Tx(ctx, func(tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO alarm_inbox (user_name, notice_id, created) VALUES (?, ?, ?)", clip(user, 64), notice, at)
		if isDuplicate(err) {
			return nil
		}
		return err
	})
}

// Inbox returns a page of a user's inbox, the newest first, and how many of all his
// messages are unread.
func (db *DB) Inbox(ctx context.Context, user string, limit, offset int) (items []InboxItem, unread int, err error) {
	if err := db.needAlarms(); err != nil {
		return nil, 0, err
	}
	err = db.Alarms.read.GetContext(ctx, &unread, "SELECT COUNT(*) FROM alarm_inbox WHERE user_name = ? AND read_at IS NULL", user)
	if err != nil {
		return nil, 0, err
	}
	items = []InboxItem{}
	err = db.Alarms.read.SelectContext(ctx, &items, "SELECT i.id AS inbox_id, i.created, i.read_at, n.id, n.event_caseId, n.event_ts, n.send_ts, n.endpoint, n.metric,"+
		" n.priority, n.status, n.step, n.action_id, n.receiver, n.channel, n.result, n.attempts, n.answer"+
		" FROM alarm_inbox i JOIN alarm_notice n ON n.id = i.notice_id WHERE i.user_name = ? ORDER BY i.id DESC LIMIT ? OFFSET ?", user, max(limit, 1), max(offset, 0))
	return items, unread, err
}

// ReadInbox marks messages of a user as read; no ids are all of them. What belongs
// to somebody else, or was read before, stays as it is.
func (db *DB) ReadInbox(ctx context.Context, user string, at time.Time, ids ...int64) error {
	if err := db.needAlarms(); err != nil {
		return err
	}
	if len(ids) > maxMarks {
		return invalid("%d messages are too many: at most %d", len(ids), maxMarks)
	}
	query, args := "UPDATE alarm_inbox SET read_at = ? WHERE user_name = ? AND read_at IS NULL", []any{at, user}
	if len(ids) > 0 {
		query, args = query+" AND id IN ("+marks(len(ids))+")", append(args, anys(ids)...)
	}
	return db.Alarms.Tx(ctx, func(tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	})
}

// one turns a change that met no row into ErrNotFound.
func one(res sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n == 0 {
		return ErrNotFound
	}
	return err
}
