// Package ring places series on nodes by consistent hashing, on the same node as
// stock (crc32) and as its fork (murmur3): contract ingest 1.5 and query 0.2.
package ring

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/twmb/murmur3"
)

// Names of the hashes, as in the config key ringHash.
const (
	CRC32   = "crc32"   // CRC-32 IEEE: stock
	Murmur3 = "murmur3" // MurmurHash3 x86 32 bit, seed 0: the fork
)

// DefaultReplicas is how many points a node has when the config says 0 or less.
const DefaultReplicas = 500

// A Ring maps the key of a series to the name of a node. It does not change once
// it is made and is safe for concurrent use.
type Ring struct {
	hash        func(string) uint32
	points      []uint32 // ascending
	owner       []uint16 // of points[i]: index into names
	names       []string // ascending
	fingerprint string
}

// New returns the ring of the named nodes, each with replicas points. The order of
// names does not matter; letter case does. It refuses an unknown hash and a ring
// without nodes.
func New(hash string, replicas int, names []string) (*Ring, error) {
	if replicas <= 0 {
		replicas = DefaultReplicas
	}
	if hash == "" {
		hash = CRC32
	}
	r := &Ring{names: slices.Compact(slices.Sorted(slices.Values(names)))}
	switch hash {
	case CRC32:
		r.hash = func(s string) uint32 { return crc32.ChecksumIEEE([]byte(s)) }
	case Murmur3:
		r.hash = murmur3.StringSum32
	default:
		return nil, fmt.Errorf("ringHash: %q is unknown, use %q (stock) or %q (fork)", hash, CRC32, Murmur3)
	}
	if len(r.names) == 0 {
		return nil, fmt.Errorf("ring: cluster names no node")
	}
	if len(r.names) > 1<<16 {
		return nil, fmt.Errorf("ring: %d nodes are more than %d", len(r.names), 1<<16)
	}
	// A colliding point belongs to the node added last, so later ones overwrite.
	at := make(map[uint32]uint16, replicas*len(r.names))
	for n, name := range r.names {
		for i := range replicas {
			at[r.hash(strconv.Itoa(i)+name)] = uint16(n)
		}
	}
	r.points = make([]uint32, 0, len(at))
	for p := range at {
		r.points = append(r.points, p)
	}
	slices.Sort(r.points)
	r.owner = make([]uint16, len(r.points))
	for i, p := range r.points {
		r.owner[i] = at[p]
	}
	sum := md5.Sum([]byte(hash + "|" + strconv.Itoa(replicas) + "|" + strings.Join(r.names, ",")))
	r.fingerprint = hex.EncodeToString(sum[:])[:16]
	return r, nil
}

// Node returns the name of the node that holds the series with the primary key
// pk: the owner of the first point strictly behind the hash of pk.
func (r *Ring) Node(pk string) string {
	h := r.hash(pk)
	i := sort.Search(len(r.points), func(i int) bool { return r.points[i] > h })
	if i == len(r.points) {
		i = 0
	}
	return r.names[r.owner[i]]
}

// Names returns the names of the nodes in ascending order; do not change it.
func (r *Ring) Names() []string { return r.names }

// Fingerprint returns 16 hexadecimal digits that are equal for rings that place
// every series alike: the start of MD5 over hash, replicas and sorted names.
func (r *Ring) Fingerprint() string { return r.fingerprint }
