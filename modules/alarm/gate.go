package alarm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"falcon/common/httpx"
	"falcon/common/model"
	"falcon/common/portal"
)

const (
	gateFresh = 10 * time.Second // how long it is believed what is disabled
	gateSure  = time.Second      // and how long when that keeps an event from people: it may have been ended
	gateStale = time.Minute      // and how long while nobody says
	gateWait  = 3 * time.Second  // how long events wait for the answer
)

// Silencer knows what is disabled; *portal.DB does, and the api. ErrNotFound says that
// it does not know of disabling at all, as a stock api.
type Silencer interface {
	Silences(ctx context.Context, now time.Time) ([]portal.Silence, error)
}

// gate keeps events from people whose host, template or strategy is disabled. hbs does
// so before, but a disable takes it and the judges some seconds, expressions are not of
// hosts, and events may have waited. While nobody says what is disabled the gate is open:
// an alarm that is told in vain is better than one that is lost.
type gate struct {
	from Silencer
	now  func() time.Time
	log  *slog.Logger

	mu      sync.Mutex // held while somebody asks: the others wait for the answer
	asked   time.Time
	heard   time.Time // of the answer that is used
	silent  map[about][]*portal.Silence
	failing bool
	unknown bool // whoever is asked does not know of disabling
}

// about names what a silence is about; what does not matter is zero.
type about struct {
	kind portal.DisableType
	id   int // of a strategy, or of a leaf template
	host string
}

func newGate(from Silencer, now func() time.Time, log *slog.Logger) *gate {
	return &gate{from: from, now: now, log: log}
}

// hides returns the disable that hides an event now, of several the one that ends last;
// nil for none.
func (g *gate) hides(ctx context.Context, e *model.Event) (by *portal.Silence) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refresh(ctx, gateFresh)
	if by = g.find(e); by != nil && g.refresh(ctx, gateSure) {
		by = g.find(e)
	}
	return by
}

func (g *gate) find(e *model.Event) (by *portal.Silence) {
	now := g.now().Unix()
	look := func(a about) {
		for _, s := range g.silent[a] {
			if s.Begin <= now && now < s.End && (by == nil || s.End > by.End) {
				by = s
			}
		}
	}
	look(about{portal.DisableHost, 0, e.Endpoint})
	if s := e.Strategy; s != nil {
		look(about{portal.DisableStrategy, s.Id, ""})
		look(about{portal.DisableStrategyOnHost, s.Id, e.Endpoint})
		if s.Tpl != nil {
			look(about{portal.DisableTemplate, s.Tpl.Id, ""})
			look(about{portal.DisableBinding, s.Tpl.Id, e.Endpoint})
		}
	}
	return by
}

// refresh asks what is disabled when that was asked so long ago, and says whether it did.
func (g *gate) refresh(ctx context.Context, fresh time.Duration) bool {
	now := g.now()
	if since := now.Sub(g.asked); !g.asked.IsZero() && since >= 0 && since < fresh {
		return false
	}
	g.asked = now
	ctx, cancel := context.WithTimeout(ctx, gateWait)
	defer cancel()
	all, err := g.from.Silences(ctx, now)
	if errors.Is(err, portal.ErrNotFound) {
		if !g.unknown {
			g.unknown = true
			g.log.Info("the api knows nothing of disabling: it is hbs alone that keeps disabled alarms from people")
		}
		all, err = nil, nil
	}
	if err != nil {
		if !g.failing {
			g.failing = true
			g.log.Warn("nobody says what is disabled: what is told may be", "err", err)
		}
		if now.Sub(g.heard) >= gateStale {
			g.silent = nil
		}
		return true
	}
	if g.failing {
		g.failing = false
		g.log.Info("it is known again what is disabled")
	}
	g.heard, g.silent = now, map[about][]*portal.Silence{}
	for i := range all {
		g.add(&all[i])
	}
	return true
}

func (g *gate) add(s *portal.Silence) {
	put := func(a about) { g.silent[a] = append(g.silent[a], s) }
	switch s.Type {
	case portal.DisableTemplate:
		put(about{s.Type, s.Template, ""})
		for _, id := range s.Strategies { // it owns them, whatever they come through
			put(about{portal.DisableStrategy, id, ""})
		}
	case portal.DisableStrategy:
		for _, id := range s.Strategies {
			put(about{s.Type, id, ""})
		}
	case portal.DisableHost:
		for _, h := range s.Hosts {
			put(about{s.Type, 0, h})
		}
	case portal.DisableStrategyOnHost:
		for _, id := range s.Strategies {
			for _, h := range s.Hosts {
				put(about{s.Type, id, h})
			}
		}
	case portal.DisableBinding:
		for _, h := range s.Hosts {
			put(about{s.Type, s.Template, h})
		}
	}
}

// why says in a message's row why it was not told.
func why(s *portal.Silence, loc *time.Location) string {
	text := fmt.Sprintf("%v is disabled until %s", s.Type, time.Unix(s.End, 0).In(loc).Format(time.DateTime))
	if s.Operator != "" {
		text += " by " + s.Operator
	}
	if s.Reason != "" {
		text += ": " + s.Reason
	}
	return text
}

// Silences asks the api; a stock one has no such route.
func (p apiPeople) Silences(ctx context.Context, _ time.Time) ([]portal.Silence, error) {
	var all []portal.Silence
	err := p.get(ctx, "alarm/disable/silences", &all)
	if se, ok := errors.AsType[*httpx.StatusError](err); ok && se.Code == http.StatusNotFound {
		return nil, portal.ErrNotFound
	}
	return all, err
}
