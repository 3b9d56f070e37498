package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"falcon/common/run"
)

// A stage is a set of daemons, by name, that data reaches at the same time.
type stage map[string]func(context.Context) error

// runStages starts every daemon of every stage at once and stops them stage by
// stage, first to last, when ctx ends or when one of them fails. Data flows from
// the first stage to the last, so each stage drains into a live one.
func runStages(ctx context.Context, stages ...stage) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)

	type running struct {
		stop context.CancelFunc
		wg   sync.WaitGroup
	}
	var (
		mu   sync.Mutex
		errs []error
	)
	all := make([]*running, len(stages))
	for i, s := range stages {
		r := &running{}
		var sctx context.Context
		sctx, r.stop = context.WithCancel(context.WithoutCancel(ctx))
		defer r.stop()
		for name, daemon := range s {
			r.wg.Go(func() {
				err := run.Recovered(func() error { return daemon(sctx) })
				if err == nil && sctx.Err() == nil {
					err = errors.New("returned unasked")
				}
				if err != nil {
					err = fmt.Errorf("%s: %w", name, err)
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
					fail(err)
				}
			})
		}
		all[i] = r
	}
	<-ctx.Done()
	for _, r := range all {
		r.stop()
		r.wg.Wait()
	}
	return errors.Join(errs...)
}
