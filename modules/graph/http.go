package graph

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"falcon/common/daemon"
	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/stat"
	"falcon/modules/graph/tsdb"
)

// count makes the counters: stock's rows of contract query 1.13, in its order, and
// ours behind them.
func (g *Graph) count() {
	s := stat.New("graph")
	g.stats = s
	g.received = s.Counter("GraphRpcRecvCnt", "received_points_total", "Points that arrived, refused ones included.")
	g.queries = s.Counter("GraphQueryCnt", "queries_total", "Series asked for.")
	g.queryItems = s.Counter("GraphQueryItemCnt", "query_points_total", "Points answered.")
	g.infos = s.Counter("GraphInfoCnt", "infos_total", "Calls of Graph.Info.")
	g.lasts = s.Counter("GraphLastCnt", "lasts_total", "Newest points asked for.")
	g.lastRaws = s.Counter("GraphLastRawCnt", "last_raws_total", "Newest received values asked for.")
	for _, name := range strings.Fields("GraphLoadDbCnt IndexUpdateAll IndexUpdateAllCnt IndexUpdateAllErrorCnt IndexUpdateIncr") {
		s.StockOnly(name)
	}
	w := &writeBehind{
		store: g.deps.Index, cfg: g.cfg.Index, index: g.index, log: g.log, now: g.now,
		first: map[seriesName]news{}, later: map[seriesName]struct{}{}, wake: make(chan struct{}, 1),
		written: s.Counter("IndexUpdateIncrCnt", "index_written_rows_total", "Series written to the SQL index."),
		failed:  s.Counter("IndexUpdateIncrErrorCnt", "index_failed_batches_total", "Batches the database did not take; they are tried again."),
		deleted: s.Counter("", "index_deleted_rows_total", "Series removed from the SQL index."),
		refused: s.Reasons("", "index_refused_rows_total", "Series that the SQL index can not hold, or whose turn was lost (busy), by reason."),
	}
	if g.cfg.Index.Enabled {
		g.behind = w
	}
	for _, what := range strings.Fields("EndpointSelect EndpointInsert TagEndpointSelect TagEndpointInsert EndpointCounterSelect EndpointCounterInsert EndpointCounterUpdate") {
		s.StockOnly("IndexUpdateIncrDb" + what + "Cnt")
	}
	s.GaugeFunc("IndexedItemCacheCnt", "series", "Series that can be searched.", func() float64 { _, n := g.index.size(); return float64(n) })
	s.GaugeFunc("UnIndexedItemCacheCnt", "index_waiting_rows", "Series that wait to be written to the SQL index.", func() float64 { return float64(w.waiting()) })
	s.GaugeFunc("EndpointCacheCnt", "endpoints", "Endpoints that can be searched.", func() float64 { n, _ := g.index.size(); return float64(n) })
	s.StockOnly("CounterCacheCnt")
	g.taken = s.Counter("TakenCnt", "taken_points_total", "Points stored.")
	g.refused = s.Reasons("RefusedCnt", "refused_points_total", "Points not stored, by reason.")
	g.searches = s.Counter("SearchCnt", "searches_total", "Calls of Graph.Search.")
	g.streamsTotal = s.Counter("StreamCnt", "streams_total", "Streams opened.")
	s.GaugeFunc("", "rpc_connections", "Open RPC connections.", func() float64 { return float64(g.rpc.Open.Load()) })
	s.CounterFunc("", "rpc_calls_total", "RPC calls.", g.rpc.Calls.Load)
	s.CounterFunc("", "rpc_errors_total", "RPC calls answered with an error.", g.rpc.Errors.Load)
	s.CounterFunc("", "rpc_panics_total", "RPC methods that panicked.", g.rpc.Panics.Load)
	g.countEngine()
	// That a point is there already, or is older than what is open, is what a resend and a
	// spool look like: nobody has to do anything.
	s.CounterFunc("UnstoredCnt", "unstored_points_total", "Points refused for another reason than duplicate and late.", func() int64 {
		return g.refused.Sum() - g.refused.Get(model.ReasonDuplicate) - g.refused.Get(model.ReasonLate)
	})
	s.GaugeFunc("ReadOnly", "read_only", "1 while no point is taken, since a write failed.", func() float64 {
		if g.ready.Load() && g.db.ReadOnly() != nil {
			return 1
		}
		return 0
	})
	daemon.DiskFree(s, g.cfg.Data)
	g.self = daemon.NewReporter(daemon.ReporterOptions{Module: "graph", Self: g.cfg.Self, Stats: s, Health: g.health, Log: g.log, Now: g.deps.Now})
}

// countEngine shows what the engine counts.
func (g *Graph) countEngine() {
	engine := func() (st tsdb.Stats) {
		if g.ready.Load() {
			st = g.db.Stats()
		}
		return st
	}
	row := func(stock, name, help string, value func(tsdb.Stats) float64) {
		g.stats.GaugeFunc(stock, name, help, func() float64 { return value(engine()) })
	}
	gauge := func(name, help string, value func(tsdb.Stats) float64) { row("", name, help, value) }
	g.stats.CounterFunc("LateCnt", "late_points_total", "Points stored that came when their hour was sealed.",
		func() int64 { return int64(engine().Late) })
	g.stats.ReasonsFunc("LateRefusedCnt", "late_refused_points_total", "Points not stored that came when their hour was sealed, by reason.",
		func() map[string]int64 {
			by := map[string]int64{}
			for reason, n := range engine().LateRefused {
				by[reason] = int64(n)
			}
			return by
		})
	row("OverlayCnt", "engine_overlays", "Files of late points over sealed hours.", func(s tsdb.Stats) float64 { return float64(s.Overlays) })
	row("LateBufferBytes", "engine_late_buffer_bytes", "Memory of late points that are not in an overlay yet.", func(s tsdb.Stats) float64 { return float64(s.LateBytes) })
	gauge("engine_incarnations", "Series with their earlier steps and types.", func(s tsdb.Stats) float64 { return float64(s.Alive) })
	gauge("engine_log_bytes", "Size of the log files.", func(s tsdb.Stats) float64 { return float64(s.LogBytes) })
	gauge("engine_segment_bytes", "Size of the sealed hours.", func(s tsdb.Stats) float64 { return float64(s.SegmentBytes) })
	gauge("engine_segments", "Sealed hours.", func(s tsdb.Stats) float64 { return float64(s.Segments) })
	gauge("engine_head_bytes", "Memory of the points that are not sealed.", func(s tsdb.Stats) float64 { return float64(s.HeadBytes) })
	gauge("engine_open_windows", "Hours that are not sealed.", func(s tsdb.Stats) float64 { return float64(s.OpenWindows) })
	gauge("engine_seal_seconds", "Time spent sealing.", func(s tsdb.Stats) float64 { return s.SealTime.Seconds() })
	gauge("engine_sync_seconds", "Time spent syncing the log.", func(s tsdb.Stats) float64 { return s.SyncTime.Seconds() })
	gauge("engine_crc_errors", "Damaged records and chunks met.", func(s tsdb.Stats) float64 { return float64(s.CRCErrors) })
}

// admin returns the daemon's pages with stock's routes of contract query 1.11.
func (g *Graph) admin() http.Handler {
	mux := daemon.Admin{
		Stats: g.stats, Health: g.health,
		Config: func() any { return g.cfg },
		Reload: g.reload(),
	}.Mux()
	object := func(v any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { daemon.WriteJSON(w, v) }
	}
	mux.HandleFunc("GET /api/v2/health", func(w http.ResponseWriter, _ *http.Request) {
		if err := g.health(); err != nil {
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			w.WriteHeader(http.StatusServiceUnavailable)
			_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
			return
		}
		daemon.WriteJSON(w, map[string]string{"msg": "ok"})
	})
	mux.HandleFunc("GET /api/v2/version", object(map[string]string{"value": daemon.Version()}))
	mux.HandleFunc("GET /api/v2/workdir", func(w http.ResponseWriter, _ *http.Request) {
		exe, _ := os.Executable() // empty when the system does not tell
		daemon.WriteJSON(w, map[string]string{"value": filepath.Dir(exe)})
	})
	mux.HandleFunc("GET /api/v2/config", func(w http.ResponseWriter, _ *http.Request) { daemon.WriteJSON(w, map[string]any{"value": g.cfg}) })
	// Stock rewrites its whole index on this; ours renews every row by itself.
	mux.HandleFunc("GET /index/updateAll", object(map[string]string{"msg": "ok"}))
	mux.HandleFunc("GET /index/updateAll/concurrent", object(map[string]any{"msg": "ok", "value": 0}))
	mux.HandleFunc("POST /api/v2/index", g.indexNow)
	mux.HandleFunc("GET /api/v2/stats/graph-queue-size", g.reporting)
	mux.HandleFunc("POST /api/v2/config/reload", daemon.LocalOnly(g.reloadNow))
	// Nothing is taken over from old nodes in this release, so nothing is counted.
	mux.HandleFunc("GET /api/v2/counter/migrate", object(migrateCounts{}))
	mux.HandleFunc("GET /counter/migrate", object(map[string]string{"msg": "ok", "counter": "FETCH_S_SUCCESS[0] FETCH_S_ERR[0] FETCH_S_ISNOTEXIST[0] " +
		"SEND_S_SUCCESS[0] SEND_S_ERR[0] QUERY_S_SUCCESS[0] QUERY_S_ERR[0] CONN_S_ERR[0] CONN_S_DIAL[0]"}))
	mux.HandleFunc("GET /debug/engine", func(w http.ResponseWriter, _ *http.Request) {
		if !g.ready.Load() {
			http.Error(w, g.health().Error(), http.StatusServiceUnavailable)
			return
		}
		daemon.WriteJSON(w, g.db.Stats())
	})
	return mux
}

// reload reads the file again. All settings of a graph wait for a restart but the
// log level, which the shell applies by itself.
func (g *Graph) reload() func() (string, error) {
	if g.deps.Reload == nil {
		return nil
	}
	return func() (string, error) {
		if _, err := g.deps.Reload(); err != nil {
			return "", err
		}
		return "the log level is applied; other settings wait for a restart", nil
	}
}

// migrateCounts are stock's counters of moving data to new nodes.
type migrateCounts struct {
	FetchSuccess, FetchErr, FetchNotExist, SendSuccess, SendErr, QuerySuccess, QueryErr, ConnErr, ConnDial uint64
}

// reporting answers how many series have reported within the last hour: all of them
// under slot 0, where stock has as many slots as its hash table.
func (g *Graph) reporting(w http.ResponseWriter, _ *http.Request) {
	if !g.ready.Load() {
		http.Error(w, g.health().Error(), http.StatusServiceUnavailable)
		return
	}
	n, since := 0, g.now().Add(-time.Hour).Unix()
	g.db.Each(func(_, _ string, in tsdb.Info) bool {
		if in.Last >= since {
			n++
		}
		return true
	})
	daemon.WriteJSON(w, map[string]int{"0": n})
}

// reloadNow reads the file again; a bad one changes nothing.
func (g *Graph) reloadNow(w http.ResponseWriter, _ *http.Request) {
	err := errors.New("there is no configuration file to read again")
	if reload := g.reload(); reload != nil {
		_, err = reload()
	}
	if err != nil {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
		return
	}
	daemon.WriteJSON(w, map[string]string{"msg": "ok"})
}

// indexNow renews the rows of the series in the body at once. It always answers ok,
// as in stock, but to a body that can not be read.
func (g *Graph) indexNow(w http.ResponseWriter, r *http.Request) {
	var body []struct{ Endpoint, Metric, Tags, DsType string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<20)).Decode(&body); err != nil {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": fmt.Sprintf("the body is no list of series: %v", err)})
		return
	}
	if g.behind != nil && g.ready.Load() {
		for _, s := range body {
			g.behind.changed(s.Endpoint, model.CounterOf(s.Metric, model.NormalTags(s.Tags)), renewed)
		}
	}
	daemon.WriteJSON(w, map[string]string{"msg": "ok"})
}

var _ IndexStore = (*portal.DB)(nil)
