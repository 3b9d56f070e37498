package tsdb

import (
	"unsafe"

	"falcon/modules/graph/tsdb/record"
)

// restore applies a put record. The log repeats history: it may name an owner of
// an id whom the catalog has forgotten already, and comes to the same end.
func (s *shard) restore(r *record.Series, fromLog bool) {
	// The record is in a mapping that stays for as long as these are used.
	endpoint, counter := unsafe.String(unsafe.SliceData(r.Endpoint), len(r.Endpoint)), unsafe.String(unsafe.SliceData(r.Counter), len(r.Counter))
	_, hash := hashName(endpoint, counter)
	if r.ID < s.n {
		if x := s.at(r.ID); x.flags&flagAlive != 0 {
			e, c := s.nameOf(x)
			if e == endpoint && c == counter && x.step == r.Step && x.kind == r.Type {
				s.describe(r)
				if place, cur, ok := s.find(hash, endpoint, counter); ok && r.Current && cur != r.ID {
					s.table[place] = r.ID + 1
				}
				return
			}
			s.kill(r.ID)
		}
	}
	s.occupy(r.ID, hash, endpoint, counter, r.Type, r.Step, max(r.Heartbeat, r.Step))
	place, cur, known := s.find(hash, endpoint, counter)
	if !known {
		s.enter(r.ID)
	} else {
		s.at(r.ID).sib = s.at(cur).sib
		s.at(cur).sib = r.ID
		if r.Current {
			s.table[place] = r.ID + 1
			if fromLog {
				s.mark(cur)
			}
		}
	}
	s.describe(r)
	if fromLog {
		s.mark(r.ID)
	}
}

// describe sets what a put record says beside name, type and step.
func (s *shard) describe(r *record.Series) {
	x := s.at(r.ID)
	x.born, x.bornWin = r.Born, r.BornWin
	if r.Since != 0 {
		x.since = r.Since
		x.flags &^= flagFresh
	}
	s.setBounds(r.ID, r.Min, r.Max)
}

// restoreCurrent has the name of id lead to it.
func (s *shard) restoreCurrent(id, since uint32) {
	if id >= s.n || s.at(id).flags&flagAlive == 0 {
		return
	}
	x := s.at(id)
	e, c := s.nameOf(x)
	place, cur, ok := s.find(x.hash, e, c)
	if !ok {
		return
	}
	s.makeCurrent(place, cur, id)
	if since != 0 {
		x.since = since
		x.flags &^= flagFresh
	}
}
