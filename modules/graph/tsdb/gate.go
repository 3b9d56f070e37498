package tsdb

import "sync"

// A gate knows which appends are between their first change of the head and
// their record in the log, so that others can wait for just those: a resend that
// found its points in the head, and whoever frees what such an append may name.
type gate struct {
	mu   sync.Mutex
	cond sync.Cond
	next uint64
	open []uint64 // tickets inside, ascending
}

func (g *gate) init() { g.cond.L = &g.mu }

// enter returns a ticket for leave.
func (g *gate) enter() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.next++
	g.open = append(g.open, g.next)
	return g.next
}

func (g *gate) leave(ticket uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, t := range g.open {
		if t == ticket {
			g.open = append(g.open[:i], g.open[i+1:]...)
			if i == 0 {
				g.cond.Broadcast()
			}
			return
		}
	}
}

// wait returns when all who are inside at the call have left. The caller is not
// inside.
func (g *gate) wait() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for last := g.next; len(g.open) > 0 && g.open[0] <= last; {
		g.cond.Wait()
	}
}
