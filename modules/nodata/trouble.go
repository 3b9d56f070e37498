package nodata

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// trouble is what does not work at the moment, by what was to be done. It is logged when
// it begins and once a minute.
type trouble struct {
	mu     sync.Mutex
	errs   map[string]error
	logged map[string]time.Time
}

// set notes that something does not work; text is what the log says of it.
func (t *trouble) set(log *slog.Logger, text, what string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.errs == nil {
		t.errs, t.logged = map[string]error{}, map[string]time.Time{}
	}
	if t.errs[what] == nil || time.Since(t.logged[what]) >= time.Minute {
		t.logged[what] = time.Now()
		log.Warn(text, "what", what, "err", err)
	}
	t.errs[what] = err
}

func (t *trouble) clear(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.errs, what)
}

// err says everything that does not work; nil when all does.
func (t *trouble) err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []error
	for _, what := range slices.Sorted(maps.Keys(t.errs)) {
		all = append(all, fmt.Errorf("%s: %w", what, t.errs[what]))
	}
	return errors.Join(all...)
}
