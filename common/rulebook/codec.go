package rulebook

import (
	"errors"
	"fmt"
	"slices"

	"github.com/klauspost/compress/zstd"

	"falcon/common/model"
	"falcon/common/rpc"
)

// format is the first value of every book and delta.
const format = 1

// maxBook bounds what a book may unpack to: ten million hosts' worth.
const maxBook = 1 << 30

// Encode returns the book's canonical form, compressed.
func (b *Book) Encode() []byte { return Pack(b.appendTo(nil)) }

// Decode reads what Encode wrote. A damaged or foreign book is an error.
func Decode(data []byte) (*Book, error) {
	raw, err := Unpack(data)
	if err != nil {
		return nil, fmt.Errorf("read rule book: %w", err)
	}
	b, err := decode(raw)
	if err != nil {
		return nil, fmt.Errorf("read rule book: %w", err)
	}
	return b, nil
}

// Pack compresses what travels beside books.
func Pack(raw []byte) []byte {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(err) // the options are constant
	}
	defer w.Close()
	return w.EncodeAll(raw, nil)
}

// Unpack reads what Pack wrote; more than a GiB is an error.
func Unpack(data []byte) ([]byte, error) {
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBook))
	if err != nil {
		panic(err) // the options are constant
	}
	defer r.Close()
	return r.DecodeAll(data, nil)
}

func (b *Book) appendTo(dst []byte) []byte {
	dst = rpc.AppendMsgpackArray(dst, 7)
	dst = rpc.AppendMsgpackInt(dst, format)
	keys := b.keys()
	dst = rpc.AppendMsgpackArray(dst, len(keys))
	for _, k := range keys {
		dst = appendStrategy(dst, b.Strategies[k])
	}
	dst = rpc.AppendMsgpackArray(dst, len(b.Sets))
	for _, id := range sorted(b.Sets) {
		dst = appendSet(dst, b.Sets[id])
	}
	dst = appendHosts(dst, b.Hosts)
	dst = appendExpressions(dst, b.Expressions)
	dst = appendStrings(dst, b.Disabled)
	return appendInts(dst, b.Paused)
}

func decode(raw []byte) (*Book, error) {
	d := decoder{b: raw}
	b := New()
	d.head(7)
	for range d.array() {
		s := d.strategy()
		if d.err != nil {
			return nil, d.err
		}
		b.Strategies[Key{s.Id, s.Tpl.Id}] = s
	}
	for range d.array() {
		set := d.set()
		if d.err != nil {
			return nil, d.err
		}
		b.Sets[SetID(set)] = set
	}
	d.hosts(b.Hosts)
	b.Expressions = d.expressions()
	b.Disabled = d.strings()
	b.Paused = d.ints()
	if d.err == nil && len(d.b) > 0 {
		d.err = errors.New("bytes after the end")
	}
	if d.err == nil {
		d.err = b.check()
	}
	return b, d.err
}

// check makes sure that every name in the book leads somewhere.
func (b *Book) check() error {
	for _, set := range b.Sets {
		for _, k := range set {
			if b.Strategies[k] == nil {
				return fmt.Errorf("a set names strategy %d of template %d, which the book lacks", k.Strategy, k.Leaf)
			}
		}
	}
	for host, id := range b.Hosts {
		if _, ok := b.Sets[id]; !ok {
			return fmt.Errorf("host %q has a set that the book lacks", host)
		}
	}
	return nil
}

func appendStrategy(dst []byte, s *model.Strategy) []byte {
	dst = rpc.AppendMsgpackArray(dst, 19)
	dst = rpc.AppendMsgpackInt(dst, int64(s.Id))
	t := s.Tpl
	dst = rpc.AppendMsgpackInt(dst, int64(t.Id))
	dst = rpc.AppendMsgpackString(dst, t.Name)
	dst = rpc.AppendMsgpackInt(dst, int64(t.ParentId))
	dst = rpc.AppendMsgpackInt(dst, int64(t.ActionId))
	dst = rpc.AppendMsgpackString(dst, t.Creator)
	dst = rpc.AppendMsgpackString(dst, s.Metric)
	dst = appendTags(dst, s.Tags)
	dst = rpc.AppendMsgpackString(dst, s.Func)
	dst = rpc.AppendMsgpackString(dst, s.Operator)
	dst = rpc.AppendMsgpackFloat(dst, s.RightValue)
	dst = rpc.AppendMsgpackInt(dst, int64(s.MaxStep))
	dst = rpc.AppendMsgpackInt(dst, int64(s.Priority))
	dst = rpc.AppendMsgpackString(dst, s.Note)
	dst = rpc.AppendMsgpackInt(dst, int64(s.UnionStrategyId))
	dst = rpc.AppendMsgpackString(dst, s.MultiSerial)
	dst = rpc.AppendMsgpackInt(dst, int64(s.MultiCount))
	dst = rpc.AppendMsgpackString(dst, s.ValueType)
	return rpc.AppendMsgpackString(dst, s.RightString)
}

func (d *decoder) strategy() *model.Strategy {
	d.exactly(19)
	s := &model.Strategy{Id: d.int()}
	s.Tpl = &model.Template{Id: d.int(), Name: d.string(), ParentId: d.int(), ActionId: d.int(), Creator: d.string()}
	s.Metric, s.Tags, s.Func, s.Operator, s.RightValue = d.string(), d.tags(), d.string(), d.string(), d.float()
	s.MaxStep, s.Priority, s.Note = d.int(), d.int(), d.string()
	s.UnionStrategyId, s.MultiSerial, s.MultiCount = d.int(), d.string(), d.int()
	s.ValueType, s.RightString = d.string(), d.string()
	return s
}

func appendExpression(dst []byte, e *model.Expression) []byte {
	dst = rpc.AppendMsgpackArray(dst, 10)
	dst = rpc.AppendMsgpackInt(dst, int64(e.Id))
	dst = rpc.AppendMsgpackString(dst, e.Metric)
	dst = appendTags(dst, e.Tags)
	dst = rpc.AppendMsgpackString(dst, e.Func)
	dst = rpc.AppendMsgpackString(dst, e.Operator)
	dst = rpc.AppendMsgpackFloat(dst, e.RightValue)
	dst = rpc.AppendMsgpackInt(dst, int64(e.MaxStep))
	dst = rpc.AppendMsgpackInt(dst, int64(e.Priority))
	dst = rpc.AppendMsgpackString(dst, e.Note)
	return rpc.AppendMsgpackInt(dst, int64(e.ActionId))
}

func (d *decoder) expression() *model.Expression {
	d.exactly(10)
	return &model.Expression{
		Id: d.int(), Metric: d.string(), Tags: d.tags(), Func: d.string(), Operator: d.string(), RightValue: d.float(),
		MaxStep: d.int(), Priority: d.int(), Note: d.string(), ActionId: d.int(),
	}
}

func appendSet(dst []byte, keys []Key) []byte {
	dst = rpc.AppendMsgpackArray(dst, 2*len(keys))
	for _, k := range keys {
		dst = rpc.AppendMsgpackInt(dst, int64(k.Strategy))
		dst = rpc.AppendMsgpackInt(dst, int64(k.Leaf))
	}
	return dst
}

func (d *decoder) set() []Key {
	n := d.array() / 2
	keys := make([]Key, 0, n)
	for range n {
		keys = append(keys, Key{d.int(), d.int()})
	}
	return keys
}

func appendHosts(dst []byte, hosts map[string]uint64) []byte {
	dst = rpc.AppendMsgpackArray(dst, 2*len(hosts))
	for _, h := range sorted(hosts) {
		dst = rpc.AppendMsgpackString(dst, h)
		dst = rpc.AppendMsgpackInt(dst, int64(hosts[h])) // all 64 bits, as two's complement
	}
	return dst
}

func (d *decoder) hosts(to map[string]uint64) {
	for range d.array() / 2 {
		host := d.string()
		to[host] = uint64(d.int())
	}
}

func appendExpressions(dst []byte, all []*model.Expression) []byte {
	byID := slices.SortedFunc(slices.Values(all), func(a, b *model.Expression) int { return a.Id - b.Id })
	dst = rpc.AppendMsgpackArray(dst, len(byID))
	for _, e := range byID {
		dst = appendExpression(dst, e)
	}
	return dst
}

func (d *decoder) expressions() (all []*model.Expression) {
	for range d.array() {
		e := d.expression()
		if d.err != nil {
			return nil
		}
		all = append(all, e)
	}
	return all
}

func appendTags(dst []byte, tags map[string]string) []byte {
	dst = rpc.AppendMsgpackArray(dst, 2*len(tags))
	for _, k := range sorted(tags) {
		dst = rpc.AppendMsgpackString(dst, k)
		dst = rpc.AppendMsgpackString(dst, tags[k])
	}
	return dst
}

func (d *decoder) tags() map[string]string {
	n := d.array() / 2
	tags := make(map[string]string, n)
	for range n {
		k := d.string()
		tags[k] = d.string()
	}
	return tags
}

func appendStrings(dst []byte, all []string) []byte {
	dst = rpc.AppendMsgpackArray(dst, len(all))
	for _, s := range all {
		dst = rpc.AppendMsgpackString(dst, s)
	}
	return dst
}

func (d *decoder) strings() (all []string) {
	for range d.array() {
		all = append(all, d.string())
	}
	return all
}

func appendInts(dst []byte, all []int) []byte {
	dst = rpc.AppendMsgpackArray(dst, len(all))
	for _, i := range all {
		dst = rpc.AppendMsgpackInt(dst, int64(i))
	}
	return dst
}

func (d *decoder) ints() (all []int) {
	for range d.array() {
		all = append(all, d.int())
	}
	return all
}

// A decoder reads values one after the other; after the first error it reads zeros.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) int() (v int) {
	if d.err == nil {
		var i int64
		i, d.b, d.err = rpc.MsgpackInt(d.b)
		v = int(i)
	}
	return v
}

func (d *decoder) float() (v float64) {
	if d.err == nil {
		v, d.b, d.err = rpc.MsgpackFloat(d.b)
	}
	return v
}

func (d *decoder) string() string {
	if d.err != nil {
		return ""
	}
	var v []byte
	v, d.b, d.err = rpc.MsgpackBytes(d.b)
	return string(v)
}

// array returns how many values follow. A count that the bytes left can not hold is
// an error, so nothing is allocated for a lie.
func (d *decoder) array() int {
	if d.err != nil {
		return 0
	}
	var n int
	n, d.b, d.err = rpc.MsgpackArray(d.b)
	if d.err == nil && n > len(d.b) {
		d.err = fmt.Errorf("a list of %d in %d bytes", n, len(d.b))
	}
	if d.err != nil {
		return 0
	}
	return n
}

func (d *decoder) exactly(n int) {
	if got := d.array(); d.err == nil && got != n {
		d.err = fmt.Errorf("%d fields where %d are due", got, n)
	}
}

// head reads the beginning of a book or delta of n fields.
func (d *decoder) head(n int) {
	d.exactly(n)
	if f := d.int(); d.err == nil && f != format {
		d.err = fmt.Errorf("format %d is of another release, this one reads %d", f, format)
	}
}
