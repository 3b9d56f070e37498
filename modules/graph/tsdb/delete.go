package tsdb

import (
	"time"

	"falcon/common/model"
	"falcon/modules/graph/tsdb/record"
	"falcon/modules/graph/tsdb/segment"
)

// Delete removes one incarnation of a series, its points and every ref to it, and
// returns when that is on the disk; false says that there is none. COUNTER is taken
// as DERIVE. The space in segments comes back with the retention.
func (db *DB) Delete(endpoint, counter, dstype string, step int) (bool, error) {
	if err := db.ReadOnly(); err != nil {
		return false, err
	}
	kind := uint8(typeGauge)
	if model.StoredType(dstype) == model.Derive {
		kind = typeDerive
	} else if dstype != model.Gauge {
		return false, nil
	}
	k, hash := hashName(endpoint, counter)
	s := &db.shards[k]
	s.mu.Lock()
	_, cur, ok := s.find(hash, endpoint, counter)
	if !ok {
		s.mu.Unlock()
		return false, nil
	}
	id := cur
	for x := s.at(id); int(x.step) != step || x.kind != kind; x = s.at(id) {
		if id = x.sib; id == cur {
			s.mu.Unlock()
			return false, nil
		}
	}
	c := db.remove(s, id, Deleted)
	s.mu.Unlock()
	_, err := db.wal.Write(nil, 0, false)
	if err == nil {
		err = db.wal.Sync(0)
	}
	if err != nil {
		db.fail(err)
		return false, err
	}
	db.tell(c)
	return true, nil
}

// remove takes an incarnation out of memory and buffers the record of it. The
// shard is locked. The id is used again only after the next seal, and when no overlay
// has a chunk of it: until then a record of the log, or a file that is being written or
// holds late points, may name it.
func (db *DB) remove(s *shard, id uint32, kind ChangeKind) Change {
	x := s.at(id)
	e, c := s.nameOf(x)
	change := Change{Kind: kind, Endpoint: string([]byte(e)), Counter: string([]byte(c))}
	s.kill(id)
	s.waiting = append(s.waiting, id)
	s.dead = append(s.dead, id)
	db.alive.Add(-1)
	db.wal.Buffer(record.End(record.AppendDel(record.Begin(nil, record.Del), uint8(s.index), id), 0))
	if _, left, ok := s.find(x.hash, change.Endpoint, change.Counter); ok {
		s.mark(left)
		change.Info = s.info(left)
	}
	return change
}

func (db *DB) tell(c Change) {
	if db.watch != nil {
		db.watch(c)
	}
}

// sweep drops the segments past the retention and the series that are silent for
// too long. Both are counted back from the newest point, when that is behind the
// clock: a clock that ran away, or an installation that stood still, loses nothing.
func (db *DB) sweep(now time.Time) error {
	db.sealing.Lock()
	defer db.sealing.Unlock()
	if err := db.ReadOnly(); err != nil {
		return err
	}
	newest := int64(0)
	for k := range db.shards {
		s := &db.shards[k]
		s.mu.Lock()
		newest = max(newest, (int64(s.newest)+1)*windowSpan)
		s.mu.Unlock()
	}
	at := min(now.Unix(), newest)
	db.dropSegments(at - int64(db.opt.Retention.Seconds()))
	return db.expire(at - int64(max(silence, db.opt.Retention).Seconds()))
}

// dropSegments takes segments that end before a time out of the lists; their files
// go with their last reader.
func (db *DB) dropSegments(before int64) {
	var keep, gone []*segment.Segment
	for _, g := range db.shards[0].segments {
		if int64(g.T1) <= before {
			gone = append(gone, g)
		} else {
			keep = append(keep, g)
		}
	}
	if len(gone) == 0 {
		return
	}
	for k := range db.shards {
		s := &db.shards[k]
		s.mu.Lock()
		s.setSegments(keep)
		s.mu.Unlock()
	}
	for _, g := range gone {
		delete(db.lastOver, g.T0/windowSpan)
	}
	db.dropFiles(gone)
	db.log.Info("segments past the retention removed", "n", len(gone))
}

// expire deletes the series whose newest point is older than a time; nothing of
// them is stored any more.
func (db *DB) expire(before int64) error {
	n := 0
	for k := range db.shards {
		s := &db.shards[k]
		for at, end := uint32(0), uint32(1); at < end; at += sealGroup {
			var gone []Change
			s.mu.Lock()
			end = s.n
			for id := at; id < min(end, at+sealGroup); id++ {
				x := s.at(id)
				if x.flags&flagAlive == 0 {
					continue
				}
				if last := max(int64(x.last)*int64(x.step), int64(x.born)); last < before {
					gone = append(gone, db.remove(s, id, Expired))
				}
			}
			s.mu.Unlock()
			for _, c := range gone {
				db.tell(c)
			}
			n += len(gone)
		}
	}
	if n == 0 {
		return nil
	}
	_, err := db.wal.Write(nil, 0, false)
	if err == nil {
		err = db.wal.Sync(0)
	}
	if err != nil {
		db.fail(err)
		return err
	}
	db.log.Info("silent series deleted", "n", n)
	return nil
}

// Each calls fn for the current incarnation of every name, in no order, until it
// answers false. Series that come or go meanwhile may be met or not.
func (db *DB) Each(fn func(endpoint, counter string, info Info) bool) {
	type entry struct {
		endpoint, counter string
		info              Info
	}
	var group []entry
	for k := range db.shards {
		s := &db.shards[k]
		for at, end := uint32(0), uint32(1); at < end; at += sealGroup {
			group = group[:0]
			s.mu.Lock()
			end = s.n
			for id := at; id < min(end, at+sealGroup); id++ {
				x := s.at(id)
				if x.flags&flagAlive == 0 || x.sib != id && !s.isCurrent(id) {
					continue
				}
				e, c := s.nameOf(x)
				all := string([]byte(e)) + c
				group = append(group, entry{all[:len(e)], all[len(e):], s.info(id)})
			}
			s.mu.Unlock()
			for _, g := range group {
				if !fn(g.endpoint, g.counter, g.info) {
					return
				}
			}
		}
	}
}
