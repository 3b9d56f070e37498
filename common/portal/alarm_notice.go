package portal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
)

// Results of a Notice.
const (
	NoticeQueued = "queued" // to be sent, or being sent when alarm died
	NoticeSent   = "sent"
	NoticeFailed = "failed"
	NoticeDup    = "dup" // judge lost its state and told it again
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
}

const noticeColumns = "id, event_caseId, event_ts, send_ts, endpoint, metric, priority, status, step, action_id, receiver, channel, result, attempts, answer"

// QueueNotices makes sure that each of notices has a row, in one transaction, and
// returns the rows in the order of notices. A row that was there stays as it is: one
// that is sent says so, and its message must not be sent again.
func (db *DB) QueueNotices(ctx context.Context, notices []Notice) ([]Notice, error) {
	if err := db.needAlarms(); err != nil {
		return nil, err
	}
	var rows []Notice
	err := db.Alarms.Tx(ctx, func(tx *sqlx.Tx) error {
		rows = make([]Notice, len(notices))
		for i, n := range notices {
			key := []any{clip(n.CaseID, 50), n.EventTS, clip(n.Status, 8), n.Step, n.ActionID, clip(n.Receiver, 64), clip(n.Channel, 64)}
			get := func() error {
				return tx.GetContext(ctx, &rows[i], "SELECT "+noticeColumns+" FROM alarm_notice WHERE event_caseId = ? AND event_ts = ?"+
					" AND status = ? AND step = ? AND action_id = ? AND receiver = ? AND channel = ?", key...)
			}
			err := get()
			if errors.Is(err, sql.ErrNoRows) {
				_, err = tx.ExecContext(ctx, "INSERT INTO alarm_notice (event_caseId, event_ts, status, step, action_id, receiver, channel,"+
					" send_ts, endpoint, metric, priority, result) VALUES ("+marks(12)+")",
					append(key, n.SendTS, clip(n.Endpoint, 255), clip(n.Metric, 255), n.Priority, NoticeQueued)...)
				if err == nil || isDuplicate(err) {
					err = get()
				}
			}
			if err != nil {
				return fmt.Errorf("queue a notice of %q to %q through %q: %w", n.CaseID, n.Receiver, n.Channel, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
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
