package alarm

import (
	"context"
	"fmt"
	"time"

	"falcon/common/redisx"
	"falcon/common/run"
)

// housekeep deletes what is old, once a minute, in the one alarm that holds the lock.
func (a *Alarm) housekeep(ctx context.Context) error {
	return a.deps.Redis.Lead(ctx, redisx.AlarmHousekeeper, time.Minute, func(ctx context.Context) error {
		for {
			if err := a.sweepRows(ctx); err != nil && ctx.Err() == nil {
				a.dbErrors.Add(1)
				a.failing.Set(a.log, "old rows can not be deleted", "housekeeping", err)
			} else {
				a.failing.Clear("housekeeping")
			}
			if !run.Sleep(ctx, time.Minute) {
				return nil
			}
		}
	})
}

// sweepRows deletes all that is old now, a batch at a time.
func (a *Alarm) sweepRows(ctx context.Context) error {
	h, now := a.cfg.housekeeper(), a.now()
	day := func(n int) time.Time { return now.Add(-time.Duration(n) * 24 * time.Hour) }
	for _, s := range []struct {
		what   string
		before time.Time
		delete func(context.Context, time.Time, int) (int, error)
	}{
		{"events", day(h.Days), a.deps.DB.DeleteEvents},
		{"messages", day(a.cfg.Retention.Notice), a.deps.DB.DeleteNotices},
		{"cases", day(a.cfg.Retention.Case), a.deps.DB.DeleteCases},
	} {
		total := 0
		for {
			n, err := s.delete(ctx, s.before, min(h.Batch, 1000))
			if err != nil {
				return fmt.Errorf("delete old %s: %w", s.what, err)
			}
			if total += n; n < min(h.Batch, 1000) {
				break
			}
			if !run.Sleep(ctx, 100*time.Millisecond) {
				return ctx.Err()
			}
		}
		if total > 0 {
			a.log.Info("old rows are deleted", "what", s.what, "n", total)
		}
	}
	return nil
}
