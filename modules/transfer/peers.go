package transfer

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"falcon/common/model"
	"falcon/common/ring"
	"falcon/common/rpc"
	"falcon/common/stat"
	"falcon/common/stream"
)

// noBound says that a series has no smallest or largest value.
var noBound = math.NaN()

// cluster is the graphs or the judges: a ring of nodes, each with its addresses.
// The nil cluster takes nothing.
type cluster struct {
	kind    string // "graph", "judge" or "string_judge"
	peers   *Peers
	ring    *ring.Ring
	byNode  map[string][]*outlet
	outlets []*outlet // in the order of node and address

	failover *failover // of judges; nil when it is off
}

// targets appends where the points of s go: every address of its node.
func (c *cluster) targets(to []target, s *series) []target {
	if c == nil {
		return to
	}
	for _, o := range c.byNode[c.ring.Node(s.pk)] {
		to = append(to, target{out: o, handle: o.snd.Define(&s.def)})
	}
	return to
}

// newCluster builds the outlets of a section; it opens nothing.
func (t *Transfer) newCluster(kind string, p *Peers) (*cluster, error) {
	if !p.Enabled {
		return nil, nil
	}
	r, err := p.ring()
	if err != nil {
		return nil, err
	}
	c := &cluster{kind: kind, peers: p, ring: r, byNode: map[string][]*outlet{}}
	if p.Failover > 0 {
		c.failover = newFailover(c, p.Failover.D(), t.now, t.log)
	}
	for _, node := range slices.Sorted(maps.Keys(p.Cluster)) {
		for addr := range strings.SplitSeq(p.Cluster[node], ",") {
			o, err := t.newOutlet(kind, node, strings.TrimSpace(addr), r, p)
			if err != nil {
				return nil, err
			}
			o.failover = c.failover
			c.byNode[node] = append(c.byNode[node], o)
			c.outlets = append(c.outlets, o)
		}
	}
	return c, nil
}

func (t *Transfer) newOutlet(kind, node, addr string, r *ring.Ring, p *Peers) (*outlet, error) {
	o := t.newBareOutlet(kind, node, addr, p.SpoolAge.D())
	secure, err := p.TLS.Config(kind)
	if err != nil {
		return nil, err
	}
	stock := &stockPeer{addr: addr, batch: p.Batch, client: rpc.NewClient(rpc.ClientOptions{
		Addr: addr, Codec: rpc.Gob, Log: o.log,
		DialTimeout: p.ConnTimeout.D(), CallTimeout: p.CallTimeout.D(), MaxConns: p.MaxConns, MaxIdle: p.MaxIdle,
		TLS: secure, Dial: t.deps.Dial,
	})}
	o.hangUp = stock.client.Close
	opts := stream.SenderOptions{
		Addr: addr, Log: o.log, Kind: wireKind(kind), Sender: t.name + " " + t.host, Ring: r.Fingerprint(),
		DialTimeout: p.ConnTimeout.D(), CallTimeout: p.CallTimeout.D(), Drain: t.cfg.Drain.D() / 2,
		StockConnects: stock.client.Connects, TLS: secure, Dial: t.deps.Dial,
	}
	switch kind {
	case stream.KindGraph:
		opts.Stock = stock.sendGraph
	case stream.KindJudge:
		opts.Stock = stock.sendJudge
	case kindStringJudge:
		opts.Stock = stock.sendTexts
	}
	snd, err := stream.NewSender(opts)
	if err != nil {
		return nil, err
	}
	o.snd, stock.series = snd, snd.Series
	o.pools = []pool{{addr, snd, stock.client}}
	return o, nil
}

// newBareOutlet returns an outlet without a sender. It spools into a folder named
// after the peer, so that points go to the address that has missed them.
func (t *Transfer) newBareOutlet(kind, node, addr string, age time.Duration) *outlet {
	o := &outlet{
		kind: kind, node: node, addr: addr,
		after: t.cfg.Spool.After.D(), age: age,
		log: t.log.With("node", node), now: t.now, ages: t.ages,
		wake: make(chan struct{}, 1), replayed: map[rawName]stream.Handle{},
	}
	o.folder = o.spoolPrefix() + strings.NewReplacer(":", "_", "/", "_", "[", "", "]", "").Replace(addr)
	t.countOutlet(o)
	return o
}

// stockPeer sends points to a stock daemon, which knows no streams.
type stockPeer struct {
	addr    string
	client  *rpc.Client
	batch   int
	series  func(stream.Handle) *model.Series
	invalid *stat.Counter // items that a transfer refused; nil for others
}

func (p *stockPeer) sendGraph(ctx context.Context, points []stream.Point) error {
	for part := range slices.Chunk(points, p.batch) {
		items := make([]*model.GraphItem, 0, len(part))
		for _, pt := range part {
			s := p.series(pt.Handle)
			if s == nil {
				continue
			}
			lo := "U"
			if s.Type != model.Gauge {
				lo = "0"
			}
			items = append(items, &model.GraphItem{
				Endpoint: s.Endpoint, Metric: s.Metric, Tags: model.ParseTags(s.Tags), Value: pt.Value, Timestamp: pt.Time,
				DsType: model.StoredType(s.Type), Step: s.Step, Heartbeat: s.Heartbeat, Min: lo, Max: "U",
			})
		}
		var resp model.SimpleRpcResponse
		if err := p.client.Call(ctx, "Graph.Send", &items, &resp); err != nil {
			return fmt.Errorf("send %d points to stock graph %s: %w", len(items), p.addr, err)
		}
	}
	return nil
}

func (p *stockPeer) sendJudge(ctx context.Context, points []stream.Point) error {
	for part := range slices.Chunk(points, p.batch) {
		items := make([]*model.JudgeItem, 0, len(part))
		for _, pt := range part {
			s := p.series(pt.Handle)
			if s == nil || s.Text {
				continue // a stock judge knows numbers only
			}
			items = append(items, &model.JudgeItem{
				Endpoint: s.Endpoint, Metric: s.Metric, Tags: model.ParseTags(s.Tags), Value: pt.Value, Timestamp: pt.Time, JudgeType: s.Type,
			})
		}
		var resp model.SimpleRpcResponse
		if err := p.client.Call(ctx, "Judge.Send", &items, &resp); err != nil {
			return fmt.Errorf("send %d points to stock judge %s: %w", len(items), p.addr, err)
		}
	}
	return nil
}

// countOutlet makes the counters of one destination.
func (t *Transfer) countOutlet(o *outlet) {
	s := t.stats.Labeled(map[string]string{"kind": o.kind, "node": o.node, "addr": o.addr})
	o.received = s.Counter("", "peer_received_points_total", "Points for this peer.")
	o.delivered = s.Counter("", "peer_delivered_points_total", "Points the peer has taken.")
	o.passed = s.Counter("", "peer_passed_on_points_total", "Points that other judges took in this one's place.")
	o.muted = s.Counter("", "peer_muted_points_total", "Points not sent because the peer does not want their series.")
	o.refused = s.Reasons("", "peer_refused_points_total", "Points the peer has not taken, by reason.")
	s.GaugeFunc("", "peer_in_flight_points", "Points on their way to the peer.", func() float64 { return float64(o.account().InFlight) })
	s.GaugeFunc("", "peer_spooled_points", "Points spooled for the peer.", func() float64 { return float64(o.account().Spooled) })
	s.GaugeFunc("", "peer_stale_points", "Points dropped from the spool, too old or to make room.", func() float64 { return float64(o.account().Stale) })
}
