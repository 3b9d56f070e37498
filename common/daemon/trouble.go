package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// Trouble is what a daemon can not do at the moment, by what was to be done, for /health
// and the log, which says each once a minute at most, however often it comes and goes.
// The zero value is a daemon that is well.
type Trouble struct {
	mu sync.Mutex
	m  map[string]*ailing
}

type ailing struct {
	err  error     // nil: it works again
	said time.Time // in the log
}

// Set notes that something does not work; text is what the log says of it.
func (t *Trouble) Set(log *slog.Logger, text, what string, err error) {
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
	say := time.Since(a.said) > time.Minute
	if say {
		a.said = time.Now()
	}
	t.mu.Unlock()
	if say {
		log.Warn(text, "what", what, "err", err)
	}
}

// Clear notes that it works.
func (t *Trouble) Clear(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.m[what]; a != nil {
		a.err = nil
	}
}

// Err says everything that does not work; nil when all does.
func (t *Trouble) Err() error { return errors.Join(t.all()...) }

// Each says everything that does not work, a text for each.
func (t *Trouble) Each() (texts []string) {
	for _, err := range t.all() {
		texts = append(texts, err.Error())
	}
	return texts
}

func (t *Trouble) all() (errs []error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, what := range slices.Sorted(maps.Keys(t.m)) {
		if err := t.m[what].err; err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	return errs
}

// Has says whether something does not work.
func (t *Trouble) Has(what string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.m[what] != nil && t.m[what].err != nil
}
