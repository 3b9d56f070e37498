package rulebook

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"falcon/common/model"
	"falcon/common/rpc"
)

// ErrMismatch says that a delta does not lead from this book to the one it names.
var ErrMismatch = errors.New("the rule book does not come out as hbs has it")

// A Delta is what changed between two books.
type Delta struct {
	From, To Version

	Strategies map[Key]*model.Strategy // new or changed
	Gone       []Key
	Sets       [][]Key // new
	GoneSets   []uint64
	Hosts      map[string]uint64 // new or changed; 0 for a host that has no strategies any more

	// The rest is small and comes whole when it changed.
	Expressions    []*model.Expression
	NewExpressions bool
	Disabled       []string
	NewDisabled    bool
	Paused         []int
	NewPaused      bool
}

// Diff returns what leads from one book to another.
func Diff(from, to *Book) *Delta {
	d := &Delta{From: from.Version(), To: to.Version(), Strategies: map[Key]*model.Strategy{}, Hosts: map[string]uint64{}}
	for k, s := range to.Strategies {
		if !reflect.DeepEqual(from.Strategies[k], s) {
			d.Strategies[k] = s
		}
	}
	for _, k := range from.keys() {
		if to.Strategies[k] == nil {
			d.Gone = append(d.Gone, k)
		}
	}
	for _, id := range sorted(to.Sets) {
		if _, ok := from.Sets[id]; !ok {
			d.Sets = append(d.Sets, to.Sets[id])
		}
	}
	for _, id := range sorted(from.Sets) {
		if _, ok := to.Sets[id]; !ok {
			d.GoneSets = append(d.GoneSets, id)
		}
	}
	for host, id := range to.Hosts {
		if from.Hosts[host] != id {
			d.Hosts[host] = id
		}
	}
	for host := range from.Hosts {
		if _, ok := to.Hosts[host]; !ok {
			d.Hosts[host] = 0
		}
	}
	if d.NewExpressions = !sameExpressions(from.Expressions, to.Expressions); d.NewExpressions {
		d.Expressions = to.Expressions
	}
	if d.NewDisabled = !slices.Equal(from.Disabled, to.Disabled); d.NewDisabled {
		d.Disabled = to.Disabled
	}
	if d.NewPaused = !slices.Equal(from.Paused, to.Paused); d.NewPaused {
		d.Paused = to.Paused
	}
	return d
}

func sameExpressions(a, b []*model.Expression) bool {
	return len(a) == len(b) && string(appendExpressions(nil, a)) == string(appendExpressions(nil, b))
}

// Apply returns the book that d makes of b; b itself stays as it is. The error is
// ErrMismatch when that is not the book that the delta names.
func (b *Book) Apply(d *Delta) (*Book, error) {
	n := &Book{
		Strategies: maps.Clone(b.Strategies), Sets: maps.Clone(b.Sets), Hosts: maps.Clone(b.Hosts),
		Expressions: b.Expressions, Disabled: b.Disabled, Paused: b.Paused,
	}
	maps.Copy(n.Strategies, d.Strategies)
	for _, k := range d.Gone {
		delete(n.Strategies, k)
	}
	for _, set := range d.Sets {
		n.Sets[SetID(set)] = set
	}
	for _, id := range d.GoneSets {
		delete(n.Sets, id)
	}
	for host, id := range d.Hosts {
		if id == 0 {
			delete(n.Hosts, host)
		} else {
			n.Hosts[host] = id
		}
	}
	if d.NewExpressions {
		n.Expressions = d.Expressions
	}
	if d.NewDisabled {
		n.Disabled = d.Disabled
	}
	if d.NewPaused {
		n.Paused = d.Paused
	}
	if got := n.Version(); got != d.To {
		return nil, fmt.Errorf("%w: version %v, not %v", ErrMismatch, got, d.To)
	}
	return n, n.check()
}

// Encode returns the delta, compressed.
func (d *Delta) Encode() []byte {
	dst := rpc.AppendMsgpackArray(nil, 11)
	dst = rpc.AppendMsgpackInt(dst, format)
	dst = rpc.AppendMsgpackString(dst, d.From[:])
	dst = rpc.AppendMsgpackString(dst, d.To[:])
	dst = rpc.AppendMsgpackArray(dst, len(d.Strategies))
	for _, k := range slices.SortedFunc(maps.Keys(d.Strategies), Key.compare) {
		dst = appendStrategy(dst, d.Strategies[k])
	}
	dst = appendSet(dst, d.Gone)
	dst = rpc.AppendMsgpackArray(dst, len(d.Sets))
	for _, set := range d.Sets {
		dst = appendSet(dst, set)
	}
	dst = rpc.AppendMsgpackArray(dst, len(d.GoneSets))
	for _, id := range d.GoneSets {
		dst = rpc.AppendMsgpackInt(dst, int64(id))
	}
	dst = appendHosts(dst, d.Hosts)
	// A part that did not change is the empty list, one that did a list of one.
	dst = appendMaybe(dst, d.NewExpressions, func(dst []byte) []byte { return appendExpressions(dst, d.Expressions) })
	dst = appendMaybe(dst, d.NewDisabled, func(dst []byte) []byte { return appendStrings(dst, d.Disabled) })
	dst = appendMaybe(dst, d.NewPaused, func(dst []byte) []byte { return appendInts(dst, d.Paused) })
	return Pack(dst)
}

func appendMaybe(dst []byte, is bool, part func([]byte) []byte) []byte {
	if !is {
		return rpc.AppendMsgpackArray(dst, 0)
	}
	return part(rpc.AppendMsgpackArray(dst, 1))
}

// DecodeDelta reads what Delta.Encode wrote.
func DecodeDelta(data []byte) (*Delta, error) {
	raw, err := Unpack(data)
	if err != nil {
		return nil, fmt.Errorf("read change of the rule book: %w", err)
	}
	r := decoder{b: raw}
	d := &Delta{Strategies: map[Key]*model.Strategy{}, Hosts: map[string]uint64{}}
	r.head(11)
	d.From, d.To = r.version(), r.version()
	for range r.array() {
		s := r.strategy()
		if r.err != nil {
			break
		}
		d.Strategies[Key{s.Id, s.Tpl.Id}] = s
	}
	d.Gone = r.set()
	for range r.array() {
		d.Sets = append(d.Sets, r.set())
	}
	for range r.array() {
		d.GoneSets = append(d.GoneSets, uint64(r.int()))
	}
	r.hosts(d.Hosts)
	if d.NewExpressions = r.maybe(); d.NewExpressions {
		d.Expressions = r.expressions()
	}
	if d.NewDisabled = r.maybe(); d.NewDisabled {
		d.Disabled = r.strings()
	}
	if d.NewPaused = r.maybe(); d.NewPaused {
		d.Paused = r.ints()
	}
	if r.err == nil && len(r.b) > 0 {
		r.err = errors.New("bytes after the end")
	}
	if r.err != nil {
		return nil, fmt.Errorf("read change of the rule book: %w", r.err)
	}
	return d, nil
}

func (d *decoder) version() (v Version) {
	s := d.string()
	if d.err == nil && len(s) != len(v) {
		d.err = fmt.Errorf("a version of %d bytes", len(s))
	}
	copy(v[:], s)
	return v
}

func (d *decoder) maybe() bool {
	n := d.array()
	if d.err == nil && n > 1 {
		d.err = fmt.Errorf("a part of %d lists", n)
	}
	return n == 1
}
