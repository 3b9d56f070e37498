package tsdb

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"falcon/common/model"
	"falcon/modules/graph/tsdb/vfs"
)

// Durability says what Append waits for.
type Durability uint8

const (
	// Interval waits for the write and syncs each second: kill -9 loses nothing,
	// a power failure up to a second.
	Interval Durability = iota
	// Group waits for a sync that all callers of the moment share.
	Group
	// None waits for the write and leaves syncing to the kernel, but for seals.
	None
)

// Options are the settings and neighbours of a DB.
type Options struct {
	// Dir is the folder of the DB. It is created when missing.
	Dir string
	// Retention is how long raw points are kept, counted back from the newest
	// point; 0 means 72 h.
	Retention time.Duration
	// Durability is what Append waits for.
	Durability Durability
	// MaxSeries bounds the incarnations; 0 means no bound.
	MaxSeries int
	// LateBytes bounds the memory of points that came for sealed windows and are not
	// in an overlay yet, in bytes; 0 means 64 MiB. It may be exceeded by a quarter.
	LateBytes int64
	// LateAge is how long such a point waits for an overlay at most; 0 means 10
	// minutes.
	LateAge time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log takes changes of state; nil discards them.
	Log *slog.Logger
	// FS is the file system; nil means the operating system's.
	FS vfs.FS
}

// DefaultRetention is the retention of raw points.
const DefaultRetention = 72 * time.Hour

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("tsdb: Options.Dir is required")
	}
	if o.Retention == 0 {
		o.Retention = DefaultRetention
	}
	if o.Retention < time.Hour {
		return o, fmt.Errorf("tsdb: retention %v is less than one window: give at least 1h", o.Retention)
	}
	if o.Durability > None {
		return o, fmt.Errorf("tsdb: unknown durability %d", o.Durability)
	}
	if o.LateBytes == 0 {
		o.LateBytes = 64 << 20
	}
	if o.LateAge == 0 {
		o.LateAge = 10 * time.Minute
	}
	if o.LateBytes < 0 || o.LateAge < 0 {
		return o, fmt.Errorf("tsdb: LateBytes %d and LateAge %v can not be negative: 0 means their default", o.LateBytes, o.LateAge)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.FS == nil {
		o.FS = vfs.OS{}
	}
	return o, nil
}

// A Ref names one incarnation of a series while the DB is open. The ref of a
// deleted series is recognised even when its place is used again. Zero names
// nothing.
type Ref uint64

const (
	refShard = 32
	refGen   = 36
)

func newRef(shard int, id uint32, gen uint16) Ref {
	return Ref(id) | Ref(shard)<<refShard | Ref(gen)<<refGen
}

func (r Ref) shard() int  { return int(r>>refShard) % numShards }
func (r Ref) id() uint32  { return uint32(r) }
func (r Ref) gen() uint64 { return uint64(r) >> refGen }

// A Def defines a series.
type Def struct {
	Endpoint  string
	Counter   string  // metric or metric/sortedTags
	Type      string  // GAUGE or DERIVE; COUNTER is taken as DERIVE
	Step      int     // seconds
	Heartbeat int     // seconds; 0 means 2 x Step. A gap up to it is filled
	Min, Max  float64 // NaN for none, and both are none unless Min < Max; beyond them a value or rate is unknown
}

// A Sample is one received value.
type Sample struct {
	Ref   Ref
	Ts    int64 // Unix seconds
	Value float64
}

// A Point is one value of an answer; NaN when nothing is known at that time.
type Point struct {
	Ts    int64
	Value float64
}

// Info tells what a series is. The zero Info, whose Ref is 0, stands for a series
// that is unknown.
type Info struct {
	Ref       Ref
	Type      string // GAUGE or DERIVE
	Step      int    // seconds
	Heartbeat int    // seconds
	Born      int64  // Unix time of its creation
	Last      int64  // Unix time of its newest point, 0 for none; after a restart up to an hour late
	Prev      bool   // there are other incarnations
}

// A Refused error says why a series can not be created; Reason is one of
// model.Reason….
type Refused struct{ Reason string }

func (e *Refused) Error() string { return "series refused: " + e.Reason }

// A ChangeKind tells what happened to a series.
type ChangeKind uint8

const (
	Created      ChangeKind = iota // the name is new
	Reincarnated                   // the name has another step or type now
	Deleted                        // the name, or its current incarnation, is gone; Info is what is left, if any
	Expired                        // as Deleted, because it was silent for too long
)

// A Change tells Watch about a series. Changes of one name that happen at the
// same moment may arrive in either order: Lookup tells what is true.
type Change struct {
	Kind     ChangeKind
	Endpoint string
	Counter  string
	Info     Info
}

// typeCode is how a type is stored.
const (
	typeGauge  = 0
	typeDerive = 1
)

func typeName(code uint8) string {
	if code == typeDerive {
		return model.Derive
	}
	return model.Gauge
}

// bounded tells whether v may be stored: numbers that a double can hardly hold
// are refused, as the archives of stock do.
func bounded(v float64) bool {
	a := math.Abs(v)
	return a <= 1e300 && (a >= 1e-300 || a == 0) // false for NaN
}
