package tsdb

import (
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"falcon/common/model"
	"falcon/modules/graph/tsdb/record"
)

const (
	maxName = 4096                       // bytes of endpoint and counter together
	maxStep = 31 * 86400                 // seconds
	maxTime = math.MaxUint32 - 2*maxStep // Unix seconds, in 2105
	maxFill = 10                         // a heartbeat above this many steps counts as this many
	flushAt = 256 << 10                  // bytes of buffered records that Resolve writes out
)

// Resolve finds or creates the incarnation of a series with the type and step of
// def and makes it the current one. The first definition decides heartbeat and
// bounds. It fails with *Refused: no_name, too_long, bad_type, bad_step and
// bad_char say what is wrong with def, series_limit that MaxSeries is reached,
// read_only that the disk takes no writes (see ReadOnly). A new series is durable
// with its first point.
func (db *DB) Resolve(def *Def) (Ref, error) {
	kind := uint8(typeGauge)
	switch def.Type {
	case model.Gauge:
	case model.Counter, model.Derive:
		kind = typeDerive
	default:
		return 0, &Refused{model.ReasonType}
	}
	if def.Step <= 0 || def.Step > maxStep {
		return 0, &Refused{model.ReasonStep}
	}
	step := uint32(def.Step)
	k, hash := hashName(def.Endpoint, def.Counter)
	s := &db.shards[k]
	s.mu.Lock()
	_, cur, known := s.find(hash, def.Endpoint, def.Counter)
	if known {
		if x := s.at(cur); x.step == step && x.kind == kind {
			ref := newRef(k, cur, x.gen)
			s.mu.Unlock()
			return ref, nil
		}
	}
	s.mu.Unlock()
	if reason := refuseDef(def); reason != "" {
		return 0, &Refused{reason}
	}
	if db.ReadOnly() != nil {
		return 0, &Refused{model.ReasonReadOnly}
	}
	return db.incarnate(k, hash, def, kind, step)
}

// refuseDef checks what needs no look at the series that exist.
func refuseDef(def *Def) string {
	switch {
	case def.Endpoint == "" || def.Counter == "":
		return model.ReasonNoName
	case len(def.Endpoint)+len(def.Counter) > maxName:
		return model.ReasonTooLong
	case !printable(def.Endpoint) || !printable(def.Counter):
		return model.ReasonCharacter
	}
	return ""
}

// printable follows contract query 1.3, and refuses what is not UTF-8, which no
// JSON could carry.
func printable(s string) bool {
	if !utf8.ValidString(s) || strings.ContainsAny(s, "\r\n'\">\x1a") {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// incarnate creates the incarnation or makes an earlier one current again. Its
// record is in the log's buffer before anybody can see it, hence before its
// points.
func (db *DB) incarnate(k int, hash uint64, def *Def, kind uint8, step uint32) (Ref, error) {
	now := uint32(db.now().Unix())
	s := &db.shards[k]
	s.mu.Lock()
	place, cur, known := s.find(hash, def.Endpoint, def.Counter)
	if known { // it may have come since Resolve looked
		for id := cur; ; {
			if x := s.at(id); x.step == step && x.kind == kind {
				ref := newRef(k, id, x.gen)
				if id == cur {
					s.mu.Unlock()
					return ref, nil
				}
				s.makeCurrent(place, cur, id)
				rec := record.End(record.AppendCurrent(record.Begin(nil, record.Current), uint8(k), id, 0), 0)
				return ref, db.announce(s, rec, Change{Reincarnated, def.Endpoint, def.Counter, s.info(id)})
			}
			if id = s.at(id).sib; id == cur {
				break
			}
		}
	}
	if n := db.alive.Add(1); db.opt.MaxSeries > 0 && n > int64(db.opt.MaxSeries) {
		db.alive.Add(-1)
		s.mu.Unlock()
		return 0, &Refused{model.ReasonLimit}
	}
	id := s.n
	if n := len(s.free); n > 0 {
		id, s.free = s.free[n-1], s.free[:n-1]
	}
	x := s.occupy(id, hash, def.Endpoint, def.Counter, kind, step, heartbeatOf(def.Heartbeat, step))
	// Segments that exist now may hold chunks of an earlier owner of this id; those
	// to come can not, since a freed id waits for the end of a seal.
	x.born = now
	if n := len(s.segments); n > 0 {
		x.bornWin = s.segments[n-1].T1 / windowSpan
	}
	s.setBounds(id, def.Min, def.Max)
	kindOf := Created
	if known {
		kindOf = Reincarnated
		x.sib = s.at(cur).sib
		s.at(cur).sib = id
		s.makeCurrent(place, cur, id)
	} else {
		s.enter(id)
		s.mark(id)
	}
	rec := db.seriesRecord(nil, s, id, true)
	return newRef(k, id, x.gen), db.announce(s, rec, Change{kindOf, def.Endpoint, def.Counter, s.info(id)})
}

func heartbeatOf(seconds int, step uint32) uint32 {
	if seconds < int(step) {
		return 2 * step
	}
	return uint32(min(int64(seconds), maxFill*int64(step)))
}

// makeCurrent has the name lead to id instead of cur.
func (s *shard) makeCurrent(place int, cur, id uint32) {
	s.table[place] = id + 1
	s.at(id).flags |= flagFresh
	s.mark(cur)
	s.mark(id)
}

// announce buffers a record, lets go of the shard, which the caller has locked,
// and tells the watcher.
func (db *DB) announce(s *shard, rec []byte, c Change) error {
	waiting := db.wal.Buffer(rec)
	s.mu.Unlock()
	if waiting > flushAt {
		if _, err := db.wal.Write(nil, 0, false); err != nil {
			db.fail(err)
			return &Refused{model.ReasonReadOnly}
		}
	}
	if db.watch != nil {
		db.watch(c)
	}
	return nil
}

// seriesRecord appends the put record of a series to dst. The shard is locked.
func (db *DB) seriesRecord(dst []byte, s *shard, id uint32, current bool) []byte {
	x := s.at(id)
	endpoint, counter := s.nameOf(x)
	r := record.Series{
		Shard: uint8(s.index), ID: id, Type: x.kind, Current: current, Born: x.born, BornWin: x.bornWin, Since: x.since,
		Step: x.step, Heartbeat: x.heartbeat, Endpoint: []byte(endpoint), Counter: []byte(counter),
	}
	if x.flags&flagFresh != 0 {
		r.Since = 0
	}
	r.Min, r.Max = s.boundsOf(id)
	off := len(dst)
	return record.End(record.AppendSeries(record.Begin(dst, record.Put), &r), off)
}
