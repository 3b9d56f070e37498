package rulebook

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"

	"github.com/cespare/xxhash/v2"

	"falcon/common/model"
)

// A Key names a strategy in the book: one row may reach hosts through several leaf
// templates, each with people of its own to tell.
type Key struct {
	Strategy int
	Leaf     int // id of the leaf template
}

func (k Key) compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Strategy, o.Strategy), cmp.Compare(k.Leaf, o.Leaf))
}

// A Book holds every rule of the fleet. Its maps and what they lead to are not
// changed once it is built.
type Book struct {
	Strategies  map[Key]*model.Strategy
	Sets        map[uint64][]Key  // each sorted; the key is SetID of the value
	Hosts       map[string]uint64 // host name to set; hosts without strategies are absent
	Expressions []*model.Expression

	// Disabled are the hosts on which nothing is judged for now, expressions
	// included: those in maintenance and those that are disabled. Sorted.
	Disabled []string
	// Paused are the strategies that exist but rest for now: those out of their hours,
	// and those that somebody has disabled, be it on some hosts only. Where they are not
	// in force their open problems are not closed. Sorted.
	Paused []int
}

// SetID names a set of strategies by its content: the xxhash64 of its keys, which
// are sorted, as pairs of little-endian 32-bit numbers. The empty set is 0.
func SetID(keys []Key) uint64 {
	if len(keys) == 0 {
		return 0
	}
	b := make([]byte, 0, 8*len(keys))
	for _, k := range keys {
		b = binary.LittleEndian.AppendUint32(b, uint32(k.Strategy))
		b = binary.LittleEndian.AppendUint32(b, uint32(k.Leaf))
	}
	return xxhash.Sum64(b)
}

// New returns an empty book to be filled by Add and then left alone.
func New() *Book {
	return &Book{Strategies: map[Key]*model.Strategy{}, Sets: map[uint64][]Key{}, Hosts: map[string]uint64{}}
}

// Add puts the strategies of a host into the book. Each must have its leaf template
// in Tpl. A host without strategies is left out.
func (b *Book) Add(host string, strategies []*model.Strategy) {
	if len(strategies) == 0 {
		return
	}
	keys := make([]Key, len(strategies))
	for i, s := range strategies {
		keys[i] = Key{s.Id, s.Tpl.Id}
		b.Strategies[keys[i]] = s
	}
	slices.SortFunc(keys, Key.compare)
	keys = slices.Compact(keys)
	id := SetID(keys)
	if _, ok := b.Sets[id]; !ok {
		b.Sets[id] = keys
	}
	b.Hosts[host] = id
}

// Of returns the strategies in force on host, in the order of their keys.
func (b *Book) Of(host string) []*model.Strategy {
	keys := b.Sets[b.Hosts[host]]
	out := make([]*model.Strategy, len(keys))
	for i, k := range keys {
		out[i] = b.Strategies[k]
	}
	return out
}

// A Version names the content of a book.
type Version [16]byte

func (v Version) String() string { return hex.EncodeToString(v[:]) }

// IsZero says that there is no book.
func (v Version) IsZero() bool { return v == Version{} }

// Version returns the first 16 bytes of the SHA-256 of the canonical form.
func (b *Book) Version() Version {
	sum := sha256.Sum256(b.appendTo(nil))
	return Version(sum[:16])
}

func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

func (b *Book) keys() []Key {
	return slices.SortedFunc(maps.Keys(b.Strategies), Key.compare)
}
