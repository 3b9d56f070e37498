package transfer

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
	"unsafe"

	"falcon/common/model"
)

// An item is a pushed model.MetricValue with room for its parsed value. The
// exported fields have the names that gob and msgpack peers send; gob would take an
// embedded struct for a field of its own.
type item struct {
	Endpoint  string `json:"endpoint"`
	Metric    string `json:"metric"`
	Value     any    `json:"value"`
	Step      int64  `json:"step"`
	Type      string `json:"counterType"`
	Tags      string `json:"tags"`
	Timestamp int64  `json:"timestamp"`

	num    float64 // of Value, when parsed
	parsed bool
	home   *slab // of the first item of an ordinary batch: the memory of all
}

// A slab is the memory of a batch that was read the fast way: the text that its
// items are views of, and the items. It is used again, since fresh memory for every
// batch would cost more than reading it.
type slab struct {
	text  []byte
	items []item
	list  update
}

// next returns the next item, which is empty.
func (s *slab) next() *item {
	n := len(s.items)
	if n == cap(s.items) {
		return new(item) // they are shorter than guessed
	}
	s.items = s.items[:n+1]
	return &s.items[n]
}

// slabs are the ones that nobody uses.
var slabs = sync.Pool{New: func() any { return new(slab) }}

// keepSlab is how much text a slab that is kept may have; longer batches are rare.
const keepSlab = 4 << 20

// release gives the memory of the items back. Nothing may refer to them any more.
func (u *update) release() {
	list := *u
	*u = nil
	for _, it := range list {
		if it == nil {
			continue
		}
		if s := it.home; s != nil && cap(s.text) <= keepSlab {
			clear(s.items)
			clear(s.list)
			slabs.Put(s)
		}
		return
	}
}

// number returns the item's value as a number, or as text.
func (it *item) number() (num float64, text string, kind model.ValueKind) {
	if it.parsed {
		return it.num, "", model.ValueNumber
	}
	return model.ParseValue(it.Value)
}

// detached returns a copy that shares no memory with the batch it came in, cut to a
// size that can be kept.
func (it *item) detached() *item {
	cut := func(s string) string { return strings.Clone(s[:min(len(s), 128)]) }
	out := &item{Endpoint: cut(it.Endpoint), Metric: cut(it.Metric), Step: it.Step, Type: cut(it.Type), Tags: cut(it.Tags), Timestamp: it.Timestamp}
	switch v := it.Value.(type) {
	case string:
		out.Value = cut(v)
	case []byte:
		out.Value = cut(string(v))
	case nil:
		if it.parsed {
			out.Value = it.num
		}
	case bool:
		out.Value = v
	case []any, map[string]any, map[any]any:
		out.Value = fmt.Sprintf("a %T", v) // of any size
	default:
		out.Value = fmt.Sprint(v) // a number; JSON has no NaN
	}
	return out
}

// update is the argument of Transfer.Update and the body of /api/push: items, some
// of which may be null.
type update []*item

// DecodeJSON reads a JSON array of items. Ordinary ones are read here, in a tenth of
// the time of encoding/json; whatever is not ordinary (an escape, an unknown or
// misspelt key, a value that is no number) makes encoding/json read the whole array,
// so that both agree on every input. The items keep a copy of b.
func (u *update) DecodeJSON(b []byte) error {
	if len(b) > 2*model.MaxItems { // an item and its comma take 3 bytes at least
		if n := model.CountItems(b); n > model.MaxItems {
			return fmt.Errorf("%w: %d, and none was taken: send at most %d at once", errTooMany, n, model.MaxItems)
		}
	}
	s := slabs.Get().(*slab)
	s.text = append(s.text[:0], b...)
	p := scanner{b: s.text, into: s}
	if items, ok := p.array(); ok {
		*u = items
		return nil
	}
	clear(s.items)
	slabs.Put(s)
	var slow []*item
	if err := json.Unmarshal(b, &slow); err != nil {
		if te, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return fmt.Errorf("items can not be read, none was taken: %s: got a %s, want %s", te.Field, te.Value, te.Type)
		}
		return fmt.Errorf("items can not be read, none was taken: %w", err)
	}
	*u = slow
	return nil
}

// errTooMany refuses a call with more than model.MaxItems items.
var errTooMany = errors.New("too many items")

// scanner reads ordinary JSON. A method that returns false met something that is
// not ordinary, or not JSON.
type scanner struct {
	b    []byte
	i    int
	into *slab // nil takes new memory
}

func (p *scanner) space() {
	for p.i < len(p.b) {
		switch p.b[p.i] {
		case ' ', '\n', '\t', '\r':
			p.i++
		default:
			return
		}
	}
}

// next skips white space and takes c.
func (p *scanner) next(c byte) bool {
	p.space()
	if p.i < len(p.b) && p.b[p.i] == c {
		p.i++
		return true
	}
	return false
}

func (p *scanner) word(w string) bool {
	if len(p.b)-p.i >= len(w) && string(p.b[p.i:p.i+len(w)]) == w {
		p.i += len(w)
		return true
	}
	return false
}

func (p *scanner) array() (items update, ok bool) {
	if !p.next('[') {
		return nil, false
	}
	// An item takes some 130 bytes; the memory is cut into items, so that they share
	// one allocation.
	home := p.into
	if home == nil {
		home = &slab{}
	}
	home.items = slices.Grow(home.items[:0], len(p.b)/100+1)
	items = slices.Grow(home.list[:0], cap(home.items))
	defer func() { home.list = items }()
	if p.next(']') {
		return items, p.end()
	}
	for {
		p.space()
		if p.word("null") {
			items = append(items, nil)
		} else {
			it := home.next()
			it.home = p.into
			if !p.object(it) {
				return nil, false
			}
			items = append(items, it)
		}
		if p.next(',') {
			continue
		}
		return items, p.next(']') && p.end()
	}
}

func (p *scanner) end() bool {
	p.space()
	return p.i == len(p.b)
}

func (p *scanner) object(it *item) bool {
	if !p.next('{') {
		return false
	}
	if p.next('}') {
		return true
	}
	for {
		key, ok := p.text()
		if !ok || !p.next(':') {
			return false
		}
		p.space()
		switch key {
		case "endpoint":
			it.Endpoint, ok = p.text()
		case "metric":
			it.Metric, ok = p.text()
		case "tags":
			it.Tags, ok = p.text()
		case "counterType":
			it.Type, ok = p.text()
		case "step":
			it.Step, ok = p.integer()
		case "timestamp":
			it.Timestamp, ok = p.integer()
		case "value":
			it.num, ok = p.float()
			it.parsed = ok
		default:
			return false
		}
		if !ok {
			return false
		}
		if p.next(',') {
			p.space()
			continue
		}
		return p.next('}')
	}
}

// text takes a string without escapes. It is a view of the buffer.
func (p *scanner) text() (string, bool) {
	if !p.next('"') {
		return "", false
	}
	b, start, ascii := p.b, p.i, true
	i := start
	for {
		for i+8 <= len(b) {
			stop := special(binary.LittleEndian.Uint64(b[i:]))
			if stop != 0 {
				i += bits.TrailingZeros64(stop) / 8
				break
			}
			i += 8
		}
		if i >= len(b) {
			return "", false
		}
		switch c := b[i]; {
		case c == '"':
			p.i = i + 1
			s := b[start:i]
			if len(s) == 0 {
				return "", true
			}
			return unsafe.String(&s[0], len(s)), ascii || utf8.Valid(s)
		case c == '\\' || c < 0x20:
			return "", false
		case c >= utf8.RuneSelf:
			ascii = false
		}
		i++
	}
}

// special marks, by its highest bit, the first of eight bytes that is a quote, a
// backslash, a control character or no ASCII; what it marks behind that means
// nothing, and 0 means that there is none.
func special(x uint64) uint64 {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	quote, slash := x^'"'*ones, x^'\\'*ones
	return ((quote-ones)&^quote | (slash-ones)&^slash | (x-0x20*ones)&^x | x) & high
}

// digits takes the characters of a number as JSON spells it and tells whether it is
// a whole one.
func (p *scanner) digits() (s []byte, whole, ok bool) {
	start := p.i
	if p.i < len(p.b) && p.b[p.i] == '-' {
		p.i++
	}
	run := func() int {
		from := p.i
		for p.i < len(p.b) && p.b[p.i]-'0' <= 9 {
			p.i++
		}
		return p.i - from
	}
	first := p.i
	n := run()
	if n == 0 || n > 1 && p.b[first] == '0' {
		return nil, false, false
	}
	whole = true
	if p.i < len(p.b) && p.b[p.i] == '.' {
		p.i++
		if whole = false; run() == 0 {
			return nil, false, false
		}
	}
	if p.i < len(p.b) && p.b[p.i]|0x20 == 'e' {
		whole = false
		p.i++
		if p.i < len(p.b) && (p.b[p.i] == '+' || p.b[p.i] == '-') {
			p.i++
		}
		if run() == 0 {
			return nil, false, false
		}
	}
	return p.b[start:p.i], whole, true
}

// small turns up to 15 digits with an optional sign into a number; what is larger
// is left to strconv.
func small(s []byte) (int64, bool) {
	neg := s[0] == '-'
	if neg {
		s = s[1:]
	}
	if len(s) > 15 {
		return 0, false
	}
	var v int64
	for _, c := range s {
		v = v*10 + int64(c-'0')
	}
	if neg {
		v = -v
	}
	return v, true
}

func (p *scanner) integer() (int64, bool) {
	s, whole, ok := p.digits()
	if !ok || !whole {
		return 0, false
	}
	return small(s)
}

func (p *scanner) float() (float64, bool) {
	s, whole, ok := p.digits()
	if !ok {
		return 0, false
	}
	if whole {
		if v, ok := small(s); ok && (v != 0 || s[0] != '-') { // -0 is a number of its own
			return float64(v), true
		}
	}
	v, err := strconv.ParseFloat(unsafe.String(&s[0], len(s)), 64)
	return v, err == nil
}
