package tsdb

import (
	"time"

	"falcon/common/model"
)

// Stats are the counters and gauges of a DB.
type Stats struct {
	Series   int // names
	Alive    int // incarnations
	Appended uint64
	// Late counts, of Appended, the samples that came for a sealed window and are kept.
	Late uint64
	// LateRefused counts those that were not taken, by reason: late when they were
	// older than the retention, duplicate when there was a value at their time.
	LateRefused map[string]uint64
	// Refused counts the samples that were not taken, by reason; duplicates are
	// among them.
	Refused      map[string]uint64
	LogBytes     int64 // in the log files
	LogFiles     int
	LogWritten   uint64 // since Open
	Segments     int    // sealed windows
	Overlays     int    // files of late points
	SegmentBytes int64  // of both
	LateBytes    int64  // memory of late points that are not in an overlay yet
	Seals        int64
	SealTime     time.Duration
	SyncTime     time.Duration
	CRCErrors    int64 // damaged records, chunks and files, and reads that a disk failed
	HeadBytes    int
	OpenWindows  int
	Recovery     Recovery
}

// Stats returns the numbers of the moment.
func (db *DB) Stats() Stats {
	st := Stats{
		Alive: int(db.alive.Load()), Refused: map[string]uint64{},
		Segments: int(db.segs.Load()), Overlays: int(db.overlays.Load()), SegmentBytes: db.segBytes.Load(),
		LateBytes: db.lateBytes.Load(), LateRefused: map[string]uint64{},
		Seals: db.seals.Load(), SealTime: time.Duration(db.sealNanos.Load()),
		SyncTime: db.wal.SyncTime(), LogWritten: db.wal.Written(),
		CRCErrors: db.crcErrors.Load(), Recovery: db.recovery,
	}
	st.LogBytes, st.LogFiles = db.wal.Size()
	for k := range db.shards {
		s := &db.shards[k]
		s.mu.Lock()
		st.Series += s.named
		st.Appended += s.appended
		st.Late += s.lateTaken
		st.LateRefused[model.ReasonLate] += s.outcomes[tooLate]
		st.LateRefused[model.ReasonDuplicate] += s.lateDups
		for o, n := range s.outcomes {
			if n > 0 {
				st.Refused[reasons[o]] += n
			}
		}
		st.HeadBytes += s.headBytes()
		st.OpenWindows = max(st.OpenWindows, len(s.windows))
		s.mu.Unlock()
	}
	return st
}
