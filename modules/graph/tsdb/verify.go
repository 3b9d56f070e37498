package tsdb

import (
	"fmt"
	"io"
	"path/filepath"

	"falcon/modules/graph/tsdb/catalog"
	"falcon/modules/graph/tsdb/codec"
	"falcon/modules/graph/tsdb/record"
	"falcon/modules/graph/tsdb/segment"
	"falcon/modules/graph/tsdb/vfs"
	"falcon/modules/graph/tsdb/wal"
)

// A FileReport is what Verify found in one file.
type FileReport struct {
	Name   string
	Kind   string // catalog, log, segment, other
	Size   int64
	Series int   // put records, or chunks
	Points int64 // in the log, or in segments
	From   int64 // Unix seconds; of points in a log, else of the window
	To     int64
	Torn   int64    // bytes of a torn tail, which is no fault in the newest log or catalog
	Faults []string // what is wrong
}

// A Report is what Verify found in a folder.
type Report struct {
	Files  []FileReport
	Series int // alive, from the catalog and the log
	Points int64
	Faults int
}

// Verify reads every file of a folder to its last byte and tells what is in it and
// what is wrong. It changes nothing and takes no lock; in the folder of a running
// graph a file may go, or grow, while it looks. It fails only when the folder can
// not be listed.
func Verify(dir string) (*Report, error) {
	fs := vfs.OS{}
	names, err := fs.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("verify storage: %w", err)
	}
	v := &verifier{fs: fs, dir: dir, series: map[seriesKey]record.Series{}}
	lastLog, lastCatalog := "", ""
	for _, name := range names { // ascending, so catalogs and logs are in their order
		if _, ok := wal.ParseName(name); ok {
			lastLog = name
		} else if _, ok := catalog.ParseName(name); ok {
			lastCatalog = name
		}
	}
	for _, kind := range []string{"catalog", "log", "segment", "other"} {
		for _, name := range names {
			if kindOf(name) != kind {
				continue
			}
			r := v.file(name, kind)
			if r.Torn > 0 && name != lastLog && name != lastCatalog {
				r.Faults = append(r.Faults, fmt.Sprintf("%d bytes at the end can not be read", r.Torn))
			}
			v.report.Faults += len(r.Faults)
			v.report.Points += r.Points
			v.report.Files = append(v.report.Files, r)
		}
	}
	v.report.Series = len(v.series)
	return &v.report, nil
}

// Write prints the report, a line a file.
func (r *Report) Write(w io.Writer) error {
	for _, f := range r.Files {
		if _, err := fmt.Fprintf(w, "%-8s %-24s %12d bytes %9d series %12d points\n", f.Kind, f.Name, f.Size, f.Series, f.Points); err != nil {
			return err
		}
		for _, fault := range f.Faults {
			if _, err := fmt.Fprintf(w, "         %s\n", fault); err != nil {
				return err
			}
		}
	}
	_, err := fmt.Fprintf(w, "%d series, %d points, %d faults\n", r.Series, r.Points, r.Faults)
	return err
}

func kindOf(name string) string {
	if _, ok := wal.ParseName(name); ok {
		return "log"
	}
	if _, ok := catalog.ParseName(name); ok {
		return "catalog"
	}
	if _, _, _, ok := segment.ParseName(name); ok {
		return "segment"
	}
	return "other"
}

type seriesKey struct {
	shard uint8
	id    uint32
}

type verifier struct {
	fs     vfs.OS
	dir    string
	series map[seriesKey]record.Series
	batch  record.Batch
	report Report
}

func (v *verifier) file(name, kind string) (r FileReport) {
	r = FileReport{Name: name, Kind: kind}
	fault := func(format string, args ...any) {
		if len(r.Faults) < 100 {
			r.Faults = append(r.Faults, fmt.Sprintf(format, args...))
		}
	}
	b, err := v.fs.Map(filepath.Join(v.dir, name), false)
	if err != nil {
		fault("%v", err)
		return r
	}
	defer func() { _ = v.fs.Unmap(b) }()
	r.Size = int64(len(b))
	switch kind {
	case "catalog":
		end, bad, err := catalog.Scan(b, func(t record.Type, p []byte) error { return v.record(&r, t, p) })
		if err != nil {
			fault("%v", err)
		}
		if bad > 0 {
			fault("%d damaged records", bad)
		}
		r.Torn = int64(len(b) - end)
	case "log":
		if err := wal.CheckHeader(b); err != nil {
			fault("%v", err)
			return r
		}
		sc := record.NewScanner(b, wal.HeaderLen)
		for {
			t, p, ok := sc.Next()
			if !ok {
				break
			}
			if err := v.record(&r, t, p); err != nil {
				fault("record before offset %d: %v", sc.Offset(), err)
			}
		}
		if sc.Bad > 0 {
			fault("%d damaged records", sc.Bad)
		}
		r.Torn = int64(sc.Tail())
	case "segment":
		_, _, n, _ := segment.ParseName(name)
		v.segment(&r, b, n > 0, fault)
	}
	return r
}

// record applies one record to what is known of the series.
func (v *verifier) record(r *FileReport, t record.Type, p []byte) error {
	switch t {
	case record.Put:
		var s record.Series
		if err := record.ParseSeries(p, &s); err != nil {
			return err
		}
		s.Endpoint, s.Counter = nil, nil // parts of a mapping
		v.series[seriesKey{s.Shard, s.ID}] = s
		r.Series++
	case record.Del:
		shard, id, err := record.ParseDel(p)
		if err != nil {
			return err
		}
		delete(v.series, seriesKey{shard, id})
	case record.Current:
		_, _, _, err := record.ParseCurrent(p)
		return err
	case record.Points, record.Late:
		return v.points(r, p)
	default:
		return fmt.Errorf("record type %d is unknown", t)
	}
	return nil
}

func (v *verifier) points(r *FileReport, p []byte) error {
	for len(p) > 0 {
		g, rest, err := record.NextGroup(p)
		if err == nil {
			err = v.batch.Decode(&g)
		}
		if err != nil {
			return err
		}
		for _, t := range v.batch.Times {
			ts := int64(t)
			if r.From == 0 || ts < r.From {
				r.From = ts
			}
			r.To = max(r.To, ts)
		}
		r.Points += int64(g.N)
		p = rest
	}
	return nil
}

// segment decodes every chunk whose series is known; of the others, which were
// deleted, only the sums are checked. The chunks of an overlay are always of the series
// that has their id.
func (v *verifier) segment(r *FileReport, b []byte, overlay bool, fault func(string, ...any)) {
	g, err := segment.Parse(b)
	if err != nil {
		fault("%v", err)
		return
	}
	r.From, r.To = int64(g.T0), int64(g.T1)
	var dec codec.Decoder
	slots := make([]float64, windowSpan+1)
	for k := range int(g.Shards) {
		for id := range uint32(g.Len(k)) {
			body, err := g.Chunk(k, id)
			if err != nil {
				fault("chunk of series %d/%d: %v", k, id, err)
				continue
			}
			if body == nil {
				continue
			}
			r.Series++
			s, ok := v.series[seriesKey{uint8(k), id}]
			if !ok || g.Tier != 0 || g.T0/windowSpan < s.BornWin && !overlay {
				continue
			}
			w := g.T0 / windowSpan
			n := int(lastSlot(w, s.Step)) - int(firstSlot(w, s.Step)) + 1
			if n <= 0 {
				fault("chunk of series %d/%d has no place in the window", k, id)
				continue
			}
			if _, err := dec.Chunk(body, slots[:n], int(s.Step)); err != nil {
				fault("chunk of series %d/%d: %v", k, id, err)
				continue
			}
			for _, x := range slots[:n] {
				if x == x {
					r.Points++
				}
			}
		}
	}
}
