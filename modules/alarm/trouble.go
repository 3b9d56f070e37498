package alarm

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// trouble is what does not work at the moment, by what was to be done. It is logged
// when it begins and once a minute.
type trouble struct {
	mu sync.Mutex
	m  map[string]*ailing
}

type ailing struct {
	err    error
	logged time.Time
}

// set notes that something does not work; text is what the log says of it.
func (t *trouble) set(log *slog.Logger, text, what string, err error) {
	t.mu.Lock()
	if t.m == nil {
		t.m = map[string]*ailing{}
	}
	a := t.m[what]
	if a == nil {
		a = &ailing{}
		t.m[what] = a
	}
	a.err = err
	say := time.Since(a.logged) > time.Minute
	if say {
		a.logged = time.Now()
	}
	t.mu.Unlock()
	if say {
		log.Warn(text, "what", what, "err", err)
	}
}

func (t *trouble) clear(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.m, what)
}

// err says everything that does not work; nil when all does.
func (t *trouble) err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var whats []string
	for what := range t.m {
		whats = append(whats, what)
	}
	slices.Sort(whats)
	var errs []error
	for _, what := range whats {
		errs = append(errs, fmt.Errorf("%s: %w", what, t.m[what].err))
	}
	return errors.Join(errs...)
}
