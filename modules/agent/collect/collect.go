// Package collect holds what the collectors of the agent share. Each collector
// has a folder of its own; metric names, types, tags and units are stock's
// (contract ingest 3.5).
package collect

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"falcon/common/model"
)

// An Item is one value that a collector found. Endpoint, step and time are the
// agent's to add.
type Item struct {
	Metric string
	Tags   string // sorted, k=v,k=v
	Type   string // model.Gauge or model.Counter
	Value  float64
}

// G returns an item of type GAUGE.
func G(metric string, v float64, tags ...string) Item { return item(model.Gauge, metric, v, tags) }

// C returns an item of type COUNTER.
func C(metric string, v float64, tags ...string) Item { return item(model.Counter, metric, v, tags) }

// item joins tags, which come as key, value, key, value with keys ascending.
func item(typ, metric string, v float64, tags []string) Item {
	it := Item{Metric: metric, Type: typ, Value: v}
	for i := 0; i+1 < len(tags); i += 2 {
		if i > 0 {
			it.Tags += ","
		}
		it.Tags += tags[i] + "=" + tags[i+1]
	}
	return it
}

// A Collector finds values. Collect is called by one goroutine at a time and should
// return when ctx ends; one that can not, because the kernel hangs, is left behind
// and asked again once it has returned. Items found before an error count.
type Collector interface {
	Collect(ctx context.Context) ([]Item, error)
}

// A Sampler also wants to look each second, for values over the last second. Sample
// and Collect are not called at the same time.
type Sampler interface {
	Collector
	Sample() error
}

// A Slow collector may take longer than others: du over a large folder, a page that
// is asked for.
type Slow interface {
	Collector
	// Deadline is how long it may take.
	Deadline() time.Duration
}

// Root is the folder in which the kernel's files are found: "/", or where the
// host's root is mounted when the agent itself is in a container.
type Root string

// Path returns the path below the root.
func (r Root) Path(elem ...string) string {
	return filepath.Join(append([]string{string(r)}, elem...)...)
}

// Read returns the content of a file below the root.
func (r Root) Read(elem ...string) (string, error) {
	b, err := os.ReadFile(r.Path(elem...))
	return string(b), err
}
