package tsdb

import (
	"runtime"
	"sync"

	"falcon/modules/graph/tsdb/record"
)

// A replay applies records: one goroutine reads and checks them, and as many
// workers as there are cores apply, each the records of its own shards in their
// order. Its memory does not grow with the files.
type replay struct {
	db      *DB
	fromLog bool // else from the catalog
	workers []*replayer
	pending [][]step // for each worker
	wg      sync.WaitGroup
	spare   chan []step
	bad     int
	stopped bool
}

// A step is one record, or one group of a points or late record.
type step struct {
	t record.Type
	p []byte
	g record.Group
}

// taskSteps is how many steps are handed over at once.
const taskSteps = 256

type task struct {
	steps []step
	done  *sync.WaitGroup // a barrier when not nil
}

func newReplay(db *DB) *replay {
	n := min(max(1, runtime.GOMAXPROCS(0)), numShards)
	rp := &replay{db: db, pending: make([][]step, n), spare: make(chan []step, 256)}
	for range n {
		w := &replayer{db: db, tasks: make(chan task, 64)}
		rp.workers = append(rp.workers, w)
		rp.wg.Go(func() {
			for t := range w.tasks {
				w.apply(rp.fromLog, t.steps)
				if t.done != nil {
					w.settle()
					t.done.Done()
				}
				select {
				case rp.spare <- t.steps[:0]:
				default:
				}
			}
		})
	}
	return rp
}

// stop ends the workers when all is applied.
func (rp *replay) stop() {
	if rp.stopped {
		return
	}
	rp.stopped = true
	rp.barrier()
	for _, w := range rp.workers {
		close(w.tasks)
	}
	rp.wg.Wait()
}

// points returns how many points were applied, how many of them are late, and how
// many are in files already.
func (rp *replay) points() (applied, late, skipped int64) {
	for _, w := range rp.workers {
		applied += w.points
		late += w.late
		skipped += w.skipped
	}
	return applied, late, skipped
}

func (rp *replay) damaged() int {
	n := rp.bad
	for _, w := range rp.workers {
		n += w.bad
	}
	return n
}

// windows returns, of the points since it was last asked, the newest window, late
// ones aside, and whether some went to late buffers; call it after barrier.
func (rp *replay) windows() (newest uint32, late bool) {
	for _, r := range rp.workers {
		newest = max(newest, r.newest)
		late = late || r.kept
		r.newest, r.kept = 0, false
	}
	return newest, late
}

// add hands a record to the worker of its shard. The payload must stay until
// barrier has returned.
func (rp *replay) add(t record.Type, p []byte) {
	switch t {
	case record.Points, record.Late:
		for len(p) > 0 {
			g, rest, err := record.NextGroup(p)
			if err != nil || g.Shard >= numShards {
				rp.bad++
				return
			}
			rp.push(int(g.Shard), step{t: t, g: g})
			p = rest
		}
	case record.Put, record.Del, record.Current:
		if len(p) == 0 || int(p[0]) >= numShards {
			rp.bad++
			return
		}
		rp.push(int(p[0]), step{t: t, p: p})
	default: // a later release writes more than we know; it changes FORMAT when that matters
	}
}

func (rp *replay) push(shard int, st step) {
	w := shard % len(rp.workers)
	rp.pending[w] = append(rp.pending[w], st)
	if len(rp.pending[w]) >= taskSteps {
		rp.send(w, nil)
	}
}

func (rp *replay) send(w int, done *sync.WaitGroup) {
	t := task{steps: rp.pending[w], done: done}
	select {
	case rp.pending[w] = <-rp.spare:
	default:
		rp.pending[w] = make([]step, 0, taskSteps)
	}
	rp.workers[w].tasks <- t
}

// barrier returns when everything added so far is applied.
func (rp *replay) barrier() {
	var done sync.WaitGroup
	done.Add(len(rp.workers))
	for w := range rp.workers {
		rp.send(w, &done)
	}
	done.Wait()
}
