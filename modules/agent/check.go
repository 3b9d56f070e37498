package agent

import (
	"context"
	"fmt"
	"io"
	"strings"

	"falcon/modules/agent/collect"
)

// Check lets each collector look once and writes a line "name ... ok", or "name ... fail"
// with the reason behind it (contract ingest 3.1, stock's -check). Nothing is sent,
// listened to or written. It fails when there can be no such agent.
func Check(ctx context.Context, cfg Config, deps Deps, w io.Writer) error {
	cfg.AppBaseDir = "" // the file in it is the running agent's
	a, err := New(cfg, deps)
	if err != nil {
		return err
	}
	for _, s := range a.slots {
		said := "ok"
		if err := a.once(ctx, s); err != nil {
			reason := strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' }), "; ")
			said = "fail: " + reason
		}
		if _, err := fmt.Fprintf(w, "%s ... %s\n", s.name, said); err != nil {
			return err
		}
	}
	return nil
}

// once lets the collector of a slot look within its deadline.
func (a *Agent) once(ctx context.Context, s *slot) error {
	limit := a.limit(s)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answer := make(chan error, 1)
	s.try(func() ([]collect.Item, error) { return s.sampled(ctx) }, func(_ []collect.Item, err error) { answer <- err })
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return fmt.Errorf("no answer within %v", limit)
	}
}
