package tsdb

import "math"

// Last returns the newest point of a series (contract query 1.7): the newest value
// of a GAUGE; the rate of a DERIVE when its two newest samples are exactly one
// step apart, 0 when it is negative. Ts 0 says that there is none.
func (db *DB) Last(endpoint, counter string) (Info, Point) {
	info, step, newest, n := db.newest(endpoint, counter)
	if n == 0 {
		return info, Point{}
	}
	p := Point{int64(newest[0].slot) * int64(step), newest[0].value}
	if info.Type == typeName(typeGauge) {
		return info, p
	}
	if n < 2 || newest[0].slot-newest[1].slot != 1 {
		return info, Point{}
	}
	p.Value = max(0, (newest[0].value-newest[1].value)/float64(step))
	return info, p
}

// LastRaw returns the newest received value; Ts 0 says that there is none.
func (db *DB) LastRaw(endpoint, counter string) (Info, Point) {
	info, step, newest, n := db.newest(endpoint, counter)
	if n == 0 {
		return info, Point{}
	}
	return info, Point{int64(newest[0].slot) * int64(step), newest[0].value}
}

// newest returns up to two samples of the current incarnation, newest first.
func (db *DB) newest(endpoint, counter string) (info Info, step uint32, out [2]sample, n int) {
	k, hash := hashName(endpoint, counter)
	s := &db.shards[k]
	s.mu.Lock()
	_, id, ok := s.find(hash, endpoint, counter)
	if !ok {
		s.mu.Unlock()
		return info, 0, out, 0
	}
	info = s.info(id)
	m := s.meta(id)
	r := db.reader()
	defer db.readers.Put(r)
	n = s.newestInHead(r, id, &out)
	want := 1
	if x := s.at(id); m.kind == typeDerive {
		want = 2
		n = offerNewest(&out, n, sample{x.prevSlot, x.prevValue})
	}
	known := m.kind == typeDerive && !m.prevUnknown && n == want // the head and the newest sealed one
	s.buffers(0, math.MaxUint32, func(b *lateBuffer) {
		if at := b.heads[id]; at != 0 {
			n = offerNewest(&out, n, sample{b.at(at).slot, b.at(at).value})
			if at = b.at(at).older; at != 0 {
				n = offerNewest(&out, n, sample{b.at(at).slot, b.at(at).value})
			}
		}
	})
	r.segs = r.segs[:0]
	if !known {
		from := uint32(0)
		if n >= want {
			from = windowOf(out[want-1].slot, m.step)
		}
		r.hold(s, m.bornWin, from, math.MaxUint32)
	}
	s.mu.Unlock()
	defer r.release()
	n = db.newestStored(r, s.index, m, &out, n, want)
	return info, m.step, out, n
}

// newestStored adds to out, of which n are there, what the held files know of, until
// nothing in an older window can be among the want newest.
func (db *DB) newestStored(r *reader, shard int, m meta, out *[2]sample, n, want int) int {
	for i := 0; i < len(r.segs); {
		w := r.segs[i].T0 / windowSpan
		if n >= want && w < windowOf(out[want-1].slot, m.step) {
			break
		}
		first, last := firstSlot(w, m.step), lastSlot(w, m.step)
		found := false
		for ; i < len(r.segs) && r.segs[i].T0/windowSpan == w; i++ {
			g := r.segs[i]
			if last < first || w < m.bornWin && g.Overlay == 0 || !db.has(g, shard, m.id) {
				continue
			}
			if !found {
				found = true
				r.reset(first, int(last-first)+1)
			}
			db.readChunk(r, g, shard, m)
		}
		if !found {
			continue
		}
		c := &r.span
		for j, k := len(c.out)-1, 0; j >= 0 && k < 2; j-- {
			if v := c.out[j]; v == v {
				n = offerNewest(out, n, sample{c.from + uint32(j), v})
				k++
			}
		}
		n = offerNewest(out, n, c.before)
	}
	return n
}

// offerNewest puts a sample among the newest two, of which n are there, newest first.
func offerNewest(out *[2]sample, n int, q sample) int {
	switch {
	case q.slot == 0 || n > 0 && q.slot == out[0].slot || n > 1 && q.slot <= out[1].slot:
		return n
	case n == 0 || q.slot > out[0].slot:
		out[1], out[0] = out[0], q
	default:
		out[1] = q
	}
	return min(n+1, 2)
}

// newestInHead takes the newest samples from the open slots, then from the blocks
// of the windows. The shard is locked.
func (s *shard) newestInHead(r *reader, id uint32, out *[2]sample) (n int) {
	x := s.at(id)
	if x.mask != 0 {
		r.span.reset(x.base, openSlots)
		x.readOpen(&r.span)
		n = r.span.newest(out, n)
	}
	for i := len(s.windows) - 1; i >= 0 && n < 2; i-- {
		w := s.windows[i]
		if w.head(id) == 0 {
			continue
		}
		first, last := firstSlot(w.w, x.step), lastSlot(w.w, x.step)
		r.span.reset(first, int(last-first)+1)
		s.readBlocks(w, id, x.step, &r.span)
		n = r.span.newest(out, n)
	}
	return n
}

// reset empties the span and has it collect n slots from the first.
func (c *span) reset(from uint32, n int) {
	c.from, c.before = from, sample{}
	if cap(c.out) < n {
		c.out = make([]float64, n)
	}
	c.out = c.out[:n]
	for i := range c.out {
		c.out[i] = math.NaN()
	}
}

// newest adds the newest samples of the span to out, of which n are there, newest
// first and all newer than the span's.
func (c *span) newest(out *[2]sample, n int) int {
	for i := len(c.out) - 1; i >= 0 && n < 2; i-- {
		if v := c.out[i]; v == v {
			out[n] = sample{c.from + uint32(i), v}
			n++
		}
	}
	if n == 1 && c.before.slot != 0 {
		out[n] = c.before
		n++
	}
	return n
}
