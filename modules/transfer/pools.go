package transfer

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"falcon/common/daemon"
	"falcon/common/model"
	"falcon/common/rpc"
	"falcon/common/stat"
	"falcon/common/stream"
)

// A pool is the connections to one peer: one stream, or those of a stock client.
type pool struct {
	name   string
	snd    *stream.Sender
	client *rpc.Client
}

// line is what stock prints of a pool. While the peer is reached it counts as one
// connection, since one carries everything.
func (p pool) line(busy bool) string {
	all, active := 0, 0
	if s := p.snd.State(); s == stream.Streaming || s == stream.StockPeer {
		all = 1
	}
	if busy {
		active = all
	}
	return fmt.Sprintf("Name:%s,Cnt:%d,active:%d,all:%d,free:%d", p.name, p.snd.Stats().Connects.Load()+p.client.Connects(), active, all, all-active)
}

// poolLines lists the pools of the outlets of kind.
func (t *Transfer) poolLines(kind string) []string {
	lines := []string{}
	for _, o := range t.outlets {
		if o.kind != kind {
			continue
		}
		busy := o.account().InFlight > 0
		r, isRelay := o.snd.(*relay)
		for i, p := range o.pools {
			lines = append(lines, p.line(busy && (!isRelay || r.using(i))))
		}
	}
	return lines
}

// connPool is GET /debug/connpool/{kind}: a line for each address.
func (t *Transfer) connPool(w http.ResponseWriter, r *http.Request) {
	kind := r.PathValue("kind")
	switch kind {
	case stream.KindGraph, stream.KindJudge, kindStringJudge, kindTransfer:
	default:
		http.Error(w, fmt.Sprintf("there are no connections to a %q: ask for graph, judge, string_judge or transfer", kind), http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, strings.Join(t.poolLines(kind), "\n")+"\n")
}

// gatewayPages adds what a stock gateway has and a transfer has not.
func (t *Transfer) gatewayPages(mux *http.ServeMux) {
	mux.Handle("GET /proc/counters", t.stats.ServeCounters(true))
	mux.HandleFunc("GET /proc/transfer/pools", func(w http.ResponseWriter, _ *http.Request) {
		daemon.WriteJSON(w, success(t.poolLines(kindTransfer)))
	})
	mux.HandleFunc("GET /proc/transfer/send", func(w http.ResponseWriter, _ *http.Request) {
		daemon.WriteJSON(w, success(t.legRows(func(l *leg) *stat.Counter { return l.delivered })))
	})
	mux.HandleFunc("GET /proc/transfer/sendfail", func(w http.ResponseWriter, _ *http.Request) {
		daemon.WriteJSON(w, success(t.legRows(func(l *leg) *stat.Counter { return l.failed })))
	})
	mux.HandleFunc("GET /pfc/proc/metrics/{what}", daemon.LocalOnly(t.perf))
	mux.HandleFunc("GET /pfc/proc/metrics/{what}/json", daemon.LocalOnly(func(w http.ResponseWriter, r *http.Request) {
		all := t.perfMetrics()
		out := map[string]map[string]map[string]int64{}
		for kind := range strings.SplitSeq(r.PathValue("what"), ",") {
			if m, ok := all[kind]; ok {
				out[kind] = m
			}
		}
		daemon.WriteJSON(w, out)
	}))
}

// legRows are the counters of each transfer that is relayed to, named name:address.
func (t *Transfer) legRows(of func(*leg) *stat.Counter) []stat.Row {
	rows := []stat.Row{}
	if t.relay == nil {
		return rows
	}
	for _, l := range t.relay.snd.(*relay).legs {
		rows = append(rows, stat.Row{Name: l.node + ":" + l.addr, Cnt: of(l).Get(), Time: t.now().Format(time.DateTime)})
	}
	return rows
}

// perfMetrics are the figures of a stock gateway under its names: by type, name and
// what is said of it.
func (t *Transfer) perfMetrics() map[string]map[string]map[string]int64 {
	meters := map[string]string{
		"RecvCnt": "Recv", "RpcRecvCnt": "RpcRecv", "HttpRecvCnt": "HttpRecv", "SocketRecvCnt": "SocketRecv",
		"SendToTransferCnt": "Send", "SendToTransferFailCnt": "SendFail", "SendToTransferDropCnt": "SendDrop",
	}
	out := map[string]map[string]map[string]int64{"meter": {}, "gauge": {}}
	for _, row := range t.stats.Rows() {
		if name, ok := meters[row.Name]; ok {
			rate := int64(0)
			if row.Qps != nil {
				rate = *row.Qps
			}
			out["meter"][name] = map[string]int64{"rate": rate, "sum": row.Cnt}
		} else if row.Name == "TransferSendCacheCnt" {
			out["gauge"]["SendQueueSize"] = map[string]int64{"value": row.Cnt}
		}
	}
	return out
}

// perf is GET /pfc/proc/metrics/{json,falcon,size}.
func (t *Transfer) perf(w http.ResponseWriter, r *http.Request) {
	all := t.perfMetrics()
	switch what := r.PathValue("what"); what {
	case "json":
		daemon.WriteJSON(w, all)
	case "size":
		size := map[string]int{}
		for kind, m := range all {
			size[kind] = len(m)
			size["all"] += len(m)
		}
		daemon.WriteJSON(w, size)
	case "falcon":
		items := []*model.MetricValue{}
		for _, m := range all {
			for name, figures := range m {
				for metric, v := range figures {
					items = append(items, &model.MetricValue{
						Endpoint: t.host, Metric: metric, Value: v, Step: 60, Type: model.Gauge,
						Tags: "service=gateway,name=" + name, Timestamp: t.now().Unix(),
					})
				}
			}
		}
		daemon.WriteJSON(w, items)
	default:
		http.Error(w, fmt.Sprintf("%q is no form of the metrics: ask for json, falcon or size", what), http.StatusNotFound)
	}
}
