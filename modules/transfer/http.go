package transfer

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"falcon/common/daemon"
	"falcon/common/model"
	"falcon/common/stat"
	"falcon/common/stream"
)

// maxBody bounds the body of a push.
const maxBody = 64 << 20

// count makes the counters: stock's rows of contract ingest 7.1, in its order, and
// ours behind them.
func (t *Transfer) count() {
	s := stat.New(t.name)
	t.stats = s
	t.recv = s.Counter("RecvCnt", "received_points_total", "Valid points received.")
	t.rpcRecv = s.Counter("RpcRecvCnt", "received_rpc_points_total", "Valid points received by RPC, streams included.")
	t.httpRecv = s.Counter("HttpRecvCnt", "received_http_points_total", "Valid points received by HTTP.")
	t.socketRecv = s.Counter("SocketRecvCnt", "received_socket_points_total", "Valid points received by the line protocol.")
	sum := func(kind string, part func(*outlet) int64) func() int64 {
		return func() (n int64) {
			for _, o := range t.outlets {
				if o.kind == kind {
					n += part(o)
				}
			}
			return n
		}
	}
	delivered := func(o *outlet) int64 { return o.delivered.Get() }
	dropped := func(o *outlet) int64 { return o.refused.Get(model.ReasonBusy) }
	failed := func(o *outlet) int64 { return o.refused.Sum() - o.refused.Get(model.ReasonBusy) }
	waiting := func(o *outlet) int64 { b := o.account(); return b.InFlight + b.Spooled }
	served := map[string]string{"Judge": stream.KindJudge, "Graph": stream.KindGraph, "Transfer": kindTransfer}
	for _, what := range []struct {
		order, suffix, name, help string
		part                      func(*outlet) int64
	}{
		{"Judge Tsdb Influxdb Graph Transfer P8sRelay", "Cnt", "delivered", "Points delivered to", delivered},
		{"Judge Tsdb Graph Transfer Influxdb P8sRelay", "DropCnt", "dropped", "Points refused since the spool was full, for", dropped},
		{"Judge Tsdb Graph Transfer Influxdb P8sRelay", "FailCnt", "failed", "Points not taken by", failed},
	} {
		for _, peer := range strings.Fields(what.order) {
			if kind, ok := served[peer]; ok {
				s.CounterFunc("SendTo"+peer+what.suffix, what.name+"_"+kind+"_points_total", what.help+" the "+kind+"s.", sum(kind, what.part))
			} else {
				s.StockOnly("SendTo" + peer + what.suffix)
			}
		}
	}
	for _, peer := range strings.Fields("Judge Tsdb Graph Transfer P8sRelay") {
		n := func() int64 { return 0 } // of a destination that is not there
		if kind, ok := served[peer]; ok {
			n = sum(kind, waiting)
		}
		s.GaugeFunc(peer+"SendCacheCnt", "waiting_"+strings.ToLower(peer)+"_points", "Points on their way to "+peer+", spooled ones included.", func() float64 { return float64(n()) })
	}
	for _, name := range strings.Fields("HistoryRequestCnt InfoRequestCnt LastRequestCnt LastRawRequestCnt HistoryResponseCounterCnt HistoryResponseItemCnt LastRequestItemCnt LastRawRequestItemCnt") {
		s.StockOnly(name)
	}
	t.refused = s.Reasons("RecvInvalidCnt", "refused_points_total", "Points refused, by reason.")
	t.streamRecv = s.Counter("StreamRecvCnt", "received_stream_points_total", "Points received by stream, refused ones included.")
	t.ignoredLines = s.Counter("SocketIgnoredCnt", "ignored_lines_total", "Lines that were no point.")
	s.GaugeFunc("SeriesCnt", "series", "Series that are known.", func() float64 { return float64(t.series.size()) })
	s.GaugeFunc("", "rpc_connections", "Open RPC connections.", func() float64 { return float64(t.rpc.Open.Load()) })
	s.CounterFunc("", "rpc_calls_total", "RPC calls.", t.rpc.Calls.Load)
	s.CounterFunc("", "rpc_errors_total", "RPC calls answered with an error.", t.rpc.Errors.Load)
	s.CounterFunc("", "rpc_panics_total", "RPC methods that panicked.", t.rpc.Panics.Load)
}

// watchSelf makes what turns the counters into points, with those about the spools: of
// each peer how many points wait for it.
func (t *Transfer) watchSelf() {
	s := t.stats
	s.GaugesFunc("peer", "SpoolCnt", "spooled_points", "Points in spools, by peer.", func() map[string]int64 {
		by := map[string]int64{}
		for _, o := range t.outlets {
			by[o.kind+" "+o.node+" "+o.addr] = o.waits()
		}
		return by
	})
	s.CounterFunc("StaleCnt", "stale_points_total", "Points for judges that were dropped from spools, too old or to make room.", func() (n int64) {
		for _, o := range t.outlets {
			if o.opened.Load() {
				n += o.account().Stale
			}
		}
		return n
	})
	s.GaugeFunc("SpoolPercent", "spool_fullest_percent", "How full the fullest spool is, in percent.", func() (most float64) {
		for _, o := range t.outlets {
			if o.opened.Load() {
				most = max(most, 100*float64(o.spool.Stats().Bytes)/float64(o.maxSpool))
			}
		}
		return most
	})
	daemon.DiskFree(s, t.cfg.Spool.Dir)
	t.self = daemon.NewReporter(daemon.ReporterOptions{Module: t.name, Self: t.cfg.Self, Stats: s, Health: t.health, Log: t.log, Now: t.now})
}

// handler returns the pages of contract ingest 5.4.
func (t *Transfer) handler() http.Handler {
	mux := daemon.Admin{
		Stats: t.stats, Wrapped: true, Health: t.health, Notes: t.notes, Line: true,
		Config: func() any {
			return struct {
				Config
				Rings map[string]string `json:"ring_fingerprints"`
			}{t.cfg, t.fingerprints()}
		},
		Reload: t.reload(),
	}.Mux()
	mux.HandleFunc("POST /api/push", t.push)
	mux.HandleFunc("GET /proc/step", func(w http.ResponseWriter, _ *http.Request) {
		daemon.WriteJSON(w, success(map[string]int{"min_step": t.cfg.MinStep}))
	})
	mux.HandleFunc("GET /ack", t.ack)
	mux.HandleFunc("POST /ack", t.ack)
	mux.HandleFunc("DELETE /ack", t.ack)
	mux.HandleFunc("GET /trace/", t.trace)
	mux.HandleFunc("GET /filter/", t.filter)
	mux.HandleFunc("GET /debug/connpool/{kind}", t.connPool)
	if t.relay != nil {
		t.gatewayPages(mux)
	}
	mux.HandleFunc("GET /debug/accounting", t.accounting)
	mux.HandleFunc("GET /debug/rejected", func(w http.ResponseWriter, _ *http.Request) { daemon.WriteJSON(w, t.rejected.list()) })
	return mux
}

type envelope struct {
	Msg  string `json:"msg"`
	Data any    `json:"data"`
}

func success(data any) envelope { return envelope{"success", data} }

// push takes a JSON array of items. Its answer says that they are kept; 503 says
// that they are not, and that the caller may try again.
func (t *Transfer) push(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		http.Error(w, "body is larger than 64 MiB", http.StatusRequestEntityTooLarge)
		return
	} else if err != nil {
		http.Error(w, "read the body: "+err.Error(), http.StatusBadRequest)
		return
	}
	if len(body) == 0 {
		http.Error(w, "blank body", http.StatusBadRequest)
		return
	}
	var items update
	if err := items.DecodeJSON(body); errors.Is(err, errTooMany) {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	} else if err != nil {
		http.Error(w, "decode error", http.StatusBadRequest) // stock's text, which clients compare
		return
	}
	defer items.release()
	resp, err := t.wait(r.Context(), items)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	t.httpRecv.Add(resp.Total - resp.Invalid)
	daemon.WriteJSON(w, success(resp))
}

// accounting shows the books of each destination. missing is 0 but for points that
// move while they are counted.
func (t *Transfer) accounting(w http.ResponseWriter, _ *http.Request) {
	type account struct {
		books
		Missing int64 `json:"missing"`
	}
	out := []account{}
	for _, o := range t.outlets {
		b := o.account()
		out = append(out, account{b, b.missing()})
	}
	daemon.WriteJSON(w, out)
}

func (t *Transfer) fingerprints() map[string]string {
	m := map[string]string{}
	for _, c := range []*cluster{t.graph, t.judge, t.stringJudge} {
		if c != nil {
			m[c.kind] = c.ring.Fingerprint()
		}
	}
	return m
}

// reload reads the file again; what is not the log level waits for a restart.
func (t *Transfer) reload() func() (string, error) {
	if t.deps.Reload == nil {
		return nil
	}
	return func() (string, error) {
		if _, err := t.deps.Reload(); err != nil {
			return "", err
		}
		return "the log level is applied; other settings wait for a restart", nil
	}
}

// trace follows one series: the first call picks it, later ones answer its newest
// points (contract ingest 5.4). The path is /trace/endpoint/metric[/k=v,k=v].
func (t *Transfer) trace(w http.ResponseWriter, r *http.Request) {
	part, ok := pathParts(w, r, "/trace/", 2)
	if !ok {
		return
	}
	keep := 3
	if !t.cfg.Graph.Enabled {
		keep = 5 // as stock's gateway
	}
	t.follow(w, &watch{pk: model.PK(part[0], part[1], model.NormalTags(part[2])), keep: keep})
}

// filter is trace for values that compare in a way:
// /filter/endpoint/metric/{eq,ne,gt,lt}/number[/k=v,k=v].
func (t *Transfer) filter(w http.ResponseWriter, r *http.Request) {
	part, ok := pathParts(w, r, "/filter/", 4)
	if !ok {
		return
	}
	threshold, err := strconv.ParseFloat(part[3], 64)
	if err != nil {
		daemon.WriteJSON(w, success("bad threadhold")) // sic, as in stock
		return
	}
	switch part[2] {
	case "eq", "ne", "gt", "lt":
	default:
		daemon.WriteJSON(w, success("bad opt: "+part[2]))
		return
	}
	t.follow(w, &watch{pk: model.PK(part[0], part[1], model.NormalTags(part[4])), op: part[2], threshold: threshold, keep: 5})
}

// pathParts splits the path behind prefix into n parts and the rest.
func pathParts(w http.ResponseWriter, r *http.Request, prefix string, n int) ([]string, bool) {
	part := strings.SplitN(strings.TrimPrefix(r.URL.EscapedPath(), prefix), "/", n+1)
	for i := range part {
		if s, err := url.PathUnescape(part[i]); err == nil {
			part[i] = s
		}
	}
	if len(part) < n || part[0] == "" || part[1] == "" {
		http.Error(w, "the path needs "+strconv.Itoa(n)+" parts behind "+prefix, http.StatusBadRequest)
		return nil, false
	}
	return append(part, "")[:n+1], true
}

func (t *Transfer) follow(w http.ResponseWriter, next *watch) {
	if !t.cfg.Graph.Enabled && !t.cfg.Transfer.Enabled {
		daemon.WriteJSON(w, success([]any{}))
		return
	}
	if cur := t.watch.Load(); cur != nil && cur.same(next) {
		next = cur
	} else {
		t.watch.Store(next)
	}
	daemon.WriteJSON(w, success(next.newest()))
}

// unmarshalOther takes a section of which only enabled matters.
func unmarshalOther(b []byte, o *Other) error {
	var v struct {
		Enabled bool `json:"enabled"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	o.Enabled = v.Enabled
	return nil
}
