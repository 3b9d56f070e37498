package model

import (
	"crypto/md5"
	"encoding/hex"
	"slices"
	"strings"
)

// Types of a series as pushed (counterType) and as stored (dstype). A COUNTER
// and a DERIVE are both stored as received values of type DERIVE; the name
// COUNTER only tells what was pushed.
const (
	Gauge   = "GAUGE"
	Counter = "COUNTER"
	Derive  = "DERIVE"
)

// StoredType returns the type under which graph keeps a series that was pushed
// as t: COUNTER becomes DERIVE, the others stay.
func StoredType(t string) string {
	if t == Counter {
		return Derive
	}
	return t
}

// KnownType reports whether t is one of GAUGE, COUNTER and DERIVE, in exactly
// that spelling.
func KnownType(t string) bool { return t == Gauge || t == Counter || t == Derive }

// ParseTags reads the tags of a pushed item, "k=v,k=v", the way transfer does:
// every ASCII space is deleted, segments without "=" are dropped, a value may
// contain further "=", keys and values may be empty, and a repeated key keeps its
// last value. The result is never nil.
func ParseTags(s string) map[string]string {
	m := map[string]string{}
	if s == "" {
		return m
	}
	s = strings.ReplaceAll(s, " ", "")
	for part := range strings.SplitSeq(s, ",") {
		if k, v, ok := strings.Cut(part, "="); ok {
			m[k] = v
		}
	}
	return m
}

// ParseTagsStrict is ParseTags for calls that name an existing series (delete,
// index): it answers false when a segment has no "=", instead of dropping it.
func ParseTagsStrict(s string) (map[string]string, bool) {
	s = strings.ReplaceAll(s, " ", "")
	if s == "" {
		return map[string]string{}, true
	}
	for part := range strings.SplitSeq(s, ",") {
		if !strings.Contains(part, "=") {
			return nil, false
		}
	}
	return ParseTags(s), true
}

// SortedTags writes tags as "k=v,k=v" with the keys in ascending byte order. No
// tags give the empty string.
func SortedTags(tags map[string]string) string {
	switch len(tags) {
	case 0:
		return ""
	case 1:
		for k, v := range tags {
			return k + "=" + v
		}
	}
	keys := make([]string, 0, len(tags))
	n := 0
	for k, v := range tags {
		keys = append(keys, k)
		n += len(k) + len(v) + 2
	}
	slices.Sort(keys)
	var b strings.Builder
	b.Grow(n)
	for i, k := range keys {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(k)
		b.WriteByte('=')
		b.WriteString(tags[k])
	}
	return b.String()
}

// NormalTags is SortedTags(ParseTags(s)), without building the map when s is
// already in that form, as it is in most pushes.
func NormalTags(s string) string {
	if s == "" || tagsAreNormal(s) {
		return s
	}
	return SortedTags(ParseTags(s))
}

// tagsAreNormal reports whether s has no space, an "=" in every segment, and its
// keys in strictly ascending order.
func tagsAreNormal(s string) bool {
	if strings.IndexByte(s, ' ') >= 0 {
		return false
	}
	last, first := "", true
	for s != "" || first {
		part, rest, more := strings.Cut(s, ",")
		k, _, ok := strings.Cut(part, "=")
		if !ok || !first && k <= last {
			return false
		}
		if more && rest == "" {
			return false // a trailing comma
		}
		last, first, s = k, false, rest
	}
	return true
}

// CounterOf returns metric, or metric/sortedTags when there are tags. It is the
// name of a series on its endpoint.
func CounterOf(metric, sortedTags string) string {
	if sortedTags == "" {
		return metric
	}
	return metric + "/" + sortedTags
}

// SplitCounter undoes CounterOf: it splits at the first "/", so a metric that
// itself contains "/" does not survive the round trip (as in stock).
func SplitCounter(counter string) (metric, sortedTags string) {
	metric, sortedTags, _ = strings.Cut(counter, "/")
	return metric, sortedTags
}

// PK names a series in the whole fleet: endpoint/metric or
// endpoint/metric/sortedTags. The ring hashes it.
func PK(endpoint, metric, sortedTags string) string {
	if sortedTags == "" {
		return endpoint + "/" + metric
	}
	return endpoint + "/" + metric + "/" + sortedTags
}

// Checksum returns the lower-case hexadecimal MD5 of s; of a PK it is the name
// under which stock graph files a series.
func Checksum(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

// UUID names one incarnation of a series: its PK, stored type and step. A series
// whose type or step changes is another one.
func UUID(pk, dstype string, step int) string {
	return pk + "/" + dstype + "/" + itoa(step)
}

// CacheKey is stock's key of an incarnation, checksum_dstype_step, as
// Graph.GetRrd takes it.
func CacheKey(pk, dstype string, step int) string {
	return Checksum(pk) + "_" + dstype + "_" + itoa(step)
}

// RRDPath is where stock graph keeps the incarnation below its storage folder.
func RRDPath(storage, pk, dstype string, step int) string {
	key := CacheKey(pk, dstype, step)
	return storage + "/" + key[:2] + "/" + key + ".rrd"
}
