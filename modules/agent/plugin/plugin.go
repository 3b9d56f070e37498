// Package plugin runs programs of the operator each in its cycle and takes what they
// print: an array of items, as a push has them (contract ingest 3.9).
//
//	hbs ── bindings ──> Find ──> one schedule a plugin ──> a run: process group, deadline
//	                                                        ├─ stdout ──> items
//	                                                        └─ stderr ──> a file in Logs
//
// Nothing outside of the folder of the plugins is run. What a run has started is killed
// when its time is up, when the plugin is unbound or its program changes, and when the
// agent stops.
package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"falcon/common/model"
	"falcon/common/run"
	"falcon/common/stat"
)

// Options are the settings and neighbours of a Runner; all but the counters are required.
type Options struct {
	Dir  string // where the programs are
	Logs string // where their standard error goes
	// MaxOutput bounds what a run may print, in bytes.
	MaxOutput int
	// Endpoint is given to items that name none.
	Endpoint string
	Log      *slog.Logger
	Now      func() time.Time
	// Take takes the items of a run; refused is "" or says in words what was not taken.
	Take func(items []*model.MetricValue) (taken int, refused string)
}

// A Runner runs plugins. Apply and States may be called at any time.
type Runner struct {
	Options
	runs, timeouts *stat.Counter
	failed         *stat.Reasons

	wake chan struct{}

	complain map[string]string // bindings that name no plugin, and why; Run's alone

	mu       sync.Mutex
	bindings []string
	jobs     map[string]*job
}

// A job is the schedule of one plugin.
type job struct {
	Plugin
	end  context.CancelFunc
	done chan struct{}

	mu    sync.Mutex
	state State
}

// State is what /plugins shows of a plugin: stock's keys, then what became of its runs.
type State struct {
	FilePath string
	MTime    int64 // Unix seconds
	Cycle    int   // seconds
	Args     string

	LastRun  int64   // when the last run began, Unix seconds; 0 for none yet
	Took     float64 // how long it took, in seconds
	Items    int     // it brought
	Error    string  // why its output was not taken, or not all of it; "" for none
	Runs     int64   // since the plugin was scheduled
	Failures int64   // of them
	Running  bool
}

// New returns a Runner that runs nothing before Run.
func New(o Options, s *stat.Set) *Runner {
	return &Runner{
		Options: o, wake: make(chan struct{}, 1), jobs: map[string]*job{}, complain: map[string]string{},
		runs:     s.Counter("PluginRunCnt", "plugin_runs_total", "Runs of plugins."),
		timeouts: s.Counter("PluginTimeoutCnt", "plugin_timeouts_total", "Runs of plugins that were killed since their time was up."),
		failed:   s.Reasons("PluginFailCnt", "plugin_failed_runs_total", "Runs of plugins whose output was not taken, by reason."),
	}
}

// Apply replaces the bindings: folders or programs below Dir. None ends all plugins.
func (r *Runner) Apply(bindings []string) {
	r.mu.Lock()
	r.bindings = slices.Clone(bindings)
	r.mu.Unlock()
	r.Rescan()
}

// Rescan looks soon for programs that have changed, come or gone.
func (r *Runner) Rescan() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// rescanEvery is how often the folder is looked at without being told.
const rescanEvery = time.Minute

// Run runs plugins until ctx ends, and returns when their processes are gone.
func (r *Runner) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	tick := time.NewTicker(rescanEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		case <-tick.C:
		}
		r.mu.Lock()
		bindings := r.bindings
		r.mu.Unlock()
		var found map[string]Plugin
		var bad map[string]error
		if len(bindings) > 0 {
			found, bad = Find(r.Dir, bindings)
		}
		r.complainOf(bad)
		r.schedule(ctx, &wg, found)
	}
}

// complainOf logs what is news about bindings that name no plugin.
func (r *Runner) complainOf(bad map[string]error) {
	was := r.complain
	r.complain = map[string]string{}
	for _, b := range slices.Sorted(maps.Keys(bad)) {
		r.complain[b] = bad[b].Error()
		if was[b] != r.complain[b] {
			r.Log.Warn("a plugin that hbs binds to this host can not be run", "plugin", b, "err", bad[b])
		}
	}
}

// schedule ends the jobs of plugins that are gone or have changed, and starts those that
// are new. The first run comes after one cycle.
func (r *Runner) schedule(ctx context.Context, wg *sync.WaitGroup, found map[string]Plugin) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := map[string]*job{}
	for key, j := range r.jobs {
		if p, ok := found[key]; !ok || !p.MTime.Equal(j.MTime) {
			j.end()
			delete(r.jobs, key)
			before[key] = j
			if !ok {
				r.Log.Info("plugin ended", "plugin", key)
			}
		}
	}
	for key, p := range found {
		if r.jobs[key] != nil {
			continue
		}
		ctx, end := context.WithCancel(ctx)
		j := &job{Plugin: p, end: end, done: make(chan struct{}), state: State{FilePath: p.Path, MTime: p.MTime.Unix(), Cycle: int(p.Cycle / time.Second), Args: p.Args}}
		r.jobs[key] = j
		r.Log.Info("plugin scheduled", "plugin", key, "cycle", p.Cycle)
		earlier := before[key]
		wg.Go(func() {
			defer close(j.done)
			defer end()
			if earlier != nil {
				<-earlier.done // runs of one plugin never overlap
			}
			_ = run.Every(ctx, p.Cycle, func(ctx context.Context) {
				if err := run.Recovered(func() error { r.once(ctx, j); return nil }); err != nil {
					r.Log.Error("plugin", "plugin", key, "err", err)
				}
			})
		})
	}
}

// States returns what is scheduled, by key.
func (r *Runner) States() map[string]State {
	r.mu.Lock()
	jobs := maps.Clone(r.jobs)
	r.mu.Unlock()
	out := map[string]State{}
	for key, j := range jobs {
		j.mu.Lock()
		out[key] = j.state
		j.mu.Unlock()
	}
	return out
}

// once runs a plugin and takes its items.
func (r *Runner) once(ctx context.Context, j *job) {
	if ctx.Err() != nil {
		return // it was ended at the moment of its turn
	}
	began := r.Now()
	j.mu.Lock()
	j.state.Running, j.state.LastRun = true, began.Unix()
	was := j.state.Error
	j.mu.Unlock()
	r.runs.Add(1)
	n, refused, err := r.run(ctx, j.Plugin)
	text := refused
	if err != nil {
		text = err.Error()
		reason := ReasonStart
		if f, ok := errors.AsType[*failure](err); ok {
			reason = f.reason
		}
		r.failed.Add(reason, 1)
		if reason == ReasonTimeout {
			r.timeouts.Add(1)
		}
	}
	j.mu.Lock()
	j.state.Running = false
	j.state.Took = r.Now().Sub(began).Seconds()
	j.state.Items, j.state.Error = n, text
	j.state.Runs++
	if err != nil {
		j.state.Failures++
	}
	j.mu.Unlock()
	if text != was && text != "" && ctx.Err() == nil {
		r.Log.Warn("plugin failed", "plugin", j.Key, "err", text)
	}
}

// run is one run of a plugin: how many items it brought, and what of them was refused.
func (r *Runner) run(ctx context.Context, p Plugin) (n int, refused string, err error) {
	program, err := locate(r.Dir, p)
	if err != nil {
		return 0, "", &failure{ReasonStart, err}
	}
	stdout, stderr, err := execute(ctx, p.Cycle-500*time.Millisecond, r.MaxOutput, program, Args(p.Args))
	if len(stderr) > 0 {
		if werr := r.logStderr(p, stderr); werr != nil {
			r.Log.Warn("the standard error of a plugin is not kept", "plugin", p.Key, "err", werr)
		}
	}
	if err != nil {
		return 0, "", err
	}
	items, err := decode(stdout)
	if err != nil {
		return 0, "", &failure{ReasonJSON, err}
	}
	if len(items) == 0 {
		return 0, "", nil
	}
	now := r.Now().Unix()
	for _, it := range items {
		if it == nil {
			continue // Take passes over it
		}
		if it.Endpoint == "" {
			it.Endpoint = r.Endpoint
		}
		if it.Timestamp == 0 {
			it.Timestamp = now
		}
	}
	n, refused = r.Take(items)
	return n, refused, nil
}

// decode reads what a plugin has printed: an array of items, or nothing.
func decode(stdout []byte) (items []*model.MetricValue, err error) {
	if len(bytes.TrimSpace(stdout)) == 0 {
		return nil, nil
	}
	if n := model.CountItems(stdout); n > model.MaxItems {
		return nil, fmt.Errorf("%d items are more than the %d of one run", n, model.MaxItems)
	}
	if err := json.Unmarshal(stdout, &items); err != nil {
		return nil, fmt.Errorf("it does not print a JSON array of items: %w", err)
	}
	return items, nil
}

// logStderr overwrites the file of a plugin's standard error. Arguments are part of its
// name, as in stock, and can not lead out of Logs.
func (r *Runner) logStderr(p Plugin, text []byte) error {
	if err := os.MkdirAll(r.Logs, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(r.Logs)
	if err != nil {
		return err
	}
	defer root.Close()
	name := p.Path + "(" + p.Args + ").stderr.log"
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return root.WriteFile(name, text, 0o644)
}
