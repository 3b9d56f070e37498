package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"falcon/common/daemon"
	"falcon/common/httpx"
	"falcon/common/model"
	"falcon/common/queue/spool"
	"falcon/common/rpc"
	"falcon/common/run"
	"falcon/common/stat"
	"falcon/common/stream"
	"falcon/modules/agent/collect/service"
	"falcon/modules/agent/ping"
	"falcon/modules/agent/plugin"
	"falcon/modules/agent/scrape"
	"falcon/modules/agent/upgrade"
)

// ackTimeout is how long a transfer may take to acknowledge before the next one is
// tried. Ours answers within a second, from its spool when a graph does not.
const ackTimeout = 1500 * time.Millisecond

// stockBatch is how many items a call to a stock transfer carries.
const stockBatch = 5000

// Deps are the neighbours of an agent; transfers are named by the configuration.
type Deps struct {
	Log *slog.Logger
	// HTTP is an open listener; nil makes Run listen as configured, and lets /exit end
	// it.
	HTTP net.Listener
	// Root is where the host's files are found; empty means "/", or where the
	// environment says (see hostRoot).
	Root string
	// File is the path of the configuration file; empty when there is none.
	File string
	// Reload reads the configuration file again; nil when there is none.
	Reload func() (Config, error)
	// Ready is called once the agent serves; may be nil.
	Ready func()
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Dial connects to the address of a transfer or hbs; nil means TCP with keepalive.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Lookup resolves the name of a host; nil means the system's resolver.
	Lookup func(ctx context.Context, host string) ([]string, error)
}

// An Agent is ready to Run.
type Agent struct {
	cfg      Config
	deps     Deps
	log      *slog.Logger
	now      func() time.Time
	endpoint string
	version  string
	renaming *renaming
	slots    []*slot
	demand   *demand
	plugins  *plugin.Runner
	scraper  *scrape.Scraper
	pinger   *ping.Pinger
	pingAsk  time.Time // when hbs is asked for hosts again; the heartbeats' alone
	series   *seriesMap
	out      *outbox
	roads    *roads
	stocks   []*rpc.Client
	host     *host
	services *service.Collector

	trustable atomic.Pointer[[]string] // addresses of callers that hbs trusts
	alone     bool                     // the process is this agent's; set before it serves
	left      chan struct{}            // closed by /exit, and when an upgrade is in place
	leaving   sync.Once
	gitting   sync.Mutex

	up            *upgrade.Upgrader // nil in a larger process
	again         atomic.Bool       // the agent ends to be started again
	beatNow       chan struct{}     // holds one wish to report
	machine, boot string
	declined      bool // touched by heartbeats only

	stats                       *stat.Set
	self                        *daemon.Reporter // of its own counters, as points
	collectedPoints, pushPoints *stat.Counter
	beats, beatErrors           *stat.Counter
	refused, collectErrors      *stat.Reasons
}

// New checks cfg and deps. It opens nothing and starts nothing.
func New(cfg Config, deps Deps) (*Agent, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	if deps.Log == nil {
		return nil, errors.New("agent: Deps.Log is required")
	}
	a := &Agent{cfg: cfg, deps: deps, log: deps.Log, now: deps.Now, version: agentVersion(), left: make(chan struct{}), beatNow: make(chan struct{}, 1)}
	if a.now == nil {
		a.now = time.Now
	}
	a.roads = newRoads(deps)
	var err error
	if a.endpoint, err = Endpoint(cfg); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	a.renaming = newRenaming(os.Hostname)
	root := hostRoot(deps.Root, os.Getenv)
	a.services = service.New(root, cfg.AppBaseDir)
	a.slots = a.collectors(&cfg, root)
	a.machine, a.boot = machineID(root), bootID(root)
	a.host = newHost(&cfg, root, a.endpoint, a.now, a.slots)
	if err := a.connect(); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	a.count()
	a.plugins = a.newPlugins()
	if a.scraper, err = scrape.New(cfg.Scrape, scrape.Options{Endpoint: a.endpoint, Log: a.log, Now: a.now, Take: a.take}, a.stats); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	if a.pinger, err = ping.New(cfg.Ping, ping.Options{Endpoint: a.endpoint, Log: a.log, Now: a.now, Take: a.take}, a.stats); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	a.watchSelf()
	return a, nil
}

// watchSelf makes what turns the counters into points: they go the way of all others.
func (a *Agent) watchSelf() {
	self := a.cfg.Self
	self.Hostname = a.endpoint
	self.Enabled = self.Enabled && a.cfg.Transfer.Enabled
	a.self = daemon.NewReporter(daemon.ReporterOptions{
		Module: "agent", Self: self, Stats: a.stats, Log: a.log, Now: a.now,
		Take: func(items []*model.MetricValue) { a.take(items) },
	})
}

// connect makes a sender for each transfer, in a random order so that a fleet of
// agents spreads over them. It dials nothing.
func (a *Agent) connect() error {
	var senders []*stream.Sender
	addrs := slices.Clone(a.cfg.Transfer.Addrs)
	if !a.cfg.Transfer.Enabled {
		addrs = nil
	}
	secure, err := a.cfg.Transfer.TLS.Config("transfer")
	if err != nil {
		return err
	}
	rand.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
	for _, addr := range addrs {
		client := rpc.NewClient(rpc.ClientOptions{
			Addr: addr, Codec: rpc.JSON, Log: a.log, DialTimeout: a.cfg.Transfer.Timeout.D(), CallTimeout: 2 * time.Second, MaxConns: 1,
			TLS: secure, Dial: a.roads.connect,
		})
		var snd *stream.Sender
		snd, err := stream.NewSender(stream.SenderOptions{
			Addr: addr, Log: a.log, Kind: stream.KindPoints, Sender: "agent " + a.endpoint,
			DialTimeout: a.cfg.Transfer.Timeout.D(), CallTimeout: ackTimeout,
			Drain:         time.Second, // the outbox has drained before
			StockConnects: client.Connects, TLS: secure, Dial: a.roads.connect,
			Stock: func(ctx context.Context, points []stream.Point) error {
				for part := range slices.Chunk(points, stockBatch) {
					items := metricValues(snd, part)
					var resp model.TransferResponse
					if err := client.Call(ctx, "Transfer.Update", &items, &resp); err != nil {
						return fmt.Errorf("send %d points to stock transfer %s: %w", len(items), addr, err)
					}
				}
				return nil
			},
		})
		if err != nil {
			return err
		}
		senders = append(senders, snd)
		a.stocks = append(a.stocks, client)
	}
	a.series = &seriesMap{senders: senders, now: a.now, m: map[name]*series{}}
	a.out = &outbox{limit: a.cfg.Queue.Size, senders: senders, series: a.series, log: a.log, wake: make(chan struct{}, 1)}
	return nil
}

// count makes the counters (contract ingest 7.1, the agent's extra names). While nothing moves
// QueueCnt is SendCnt + SendFailCnt + SendDropCnt + QueueLen.
func (a *Agent) count() {
	s := stat.New("agent")
	a.stats = s
	a.pushPoints = s.Counter("PushRecvCnt", "pushed_points_total", "Points pushed by programs of this host.")
	a.collectedPoints = s.Counter("CollectCnt", "collected_points_total", "Points collected from this host.")
	a.beats = s.Counter("HeartbeatCnt", "heartbeats_total", "Heartbeats an hbs has taken.")
	a.beatErrors = s.Counter("HeartbeatErrorCnt", "heartbeat_errors_total", "Heartbeats no hbs has taken; they are sent again.")
	a.out.taken = s.Counter("QueueCnt", "queued_points_total", "Points queued for transfer, and those that an earlier start has left in the spool.")
	a.out.delivered = s.Counter("SendCnt", "sent_points_total", "Points a transfer has taken.")
	a.out.refused = s.Reasons("SendFailCnt", "send_refused_points_total", "Points a transfer has refused, by reason.")
	a.out.dropped = s.Counter("SendDropCnt", "dropped_points_total", "Points that went because the queue or the spool was full.")
	a.out.unspooled = s.Counter("", "unspooled_points_total", "Points that wait in memory since the disk does not take them.")
	s.GaugeFunc("QueueLen", "queue_points", "Points not acknowledged yet.", func() float64 { return float64(a.out.waiting()) })
	s.GaugeFunc("SpoolPercent", "spool_percent", "How full the spool is, or the queue where there is none, in percent.", a.out.full)
	s.GaugeFunc("SeriesCnt", "series", "Series this agent has points of.", func() float64 { return float64(a.series.size()) })
	a.refused = s.Reasons("RecvInvalidCnt", "refused_points_total", "Points refused here, by reason.")
	a.demand.refused = s.Reasons("BuiltinInvalidCnt", "refused_on_demand_total", "Metrics that hbs asks for and that can not be collected, at each change of its list; by reason.")
	a.collectErrors = s.Reasons("CollectErrorCnt", "collect_errors_total", "Rounds in which a collector failed; the label is its name.")
}

// Run serves until ctx ends; a transfer then has the time of Drain to take what is
// queued.
func (a *Agent) Run(ctx context.Context) error {
	ln := a.deps.HTTP
	a.alone = ln == nil
	if ln == nil && a.cfg.HTTP.Enabled {
		var err error
		if ln, err = daemon.Listen("http.listen", a.cfg.HTTP.Listen); err != nil {
			return err
		}
	}
	if a.alone {
		var err error
		if a.up, err = a.upgrader(); err != nil {
			return fmt.Errorf("agent: %w", err)
		}
	}
	if err := a.openSpool(); err != nil {
		return err
	}
	sending, stopSending := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSending()
	g := run.New(ctx)
	g.Go("sources", func(ctx context.Context) error {
		defer stopSending()
		draining, cancel := outlive(ctx, a.cfg.Drain.D())
		defer cancel()
		err := a.sources(ctx, ln)
		a.out.drain(draining)
		return err
	})
	if len(a.out.senders) > 0 {
		g.Go("feed", func(context.Context) error { return a.out.feed(sending) })
	}
	if a.out.disk != nil {
		g.Go("sync", a.out.sync)
	}
	for _, snd := range a.out.senders {
		g.Go("send", func(context.Context) error { return snd.Run(sending) })
	}
	err := g.Wait()
	for _, c := range a.stocks {
		c.Close()
	}
	if n := a.out.lost(); n > 0 {
		a.log.Warn("stopped with points that no transfer has taken; they are lost", "n", n)
	}
	if a.out.disk != nil {
		if n := a.out.waiting() - a.out.lost(); n > 0 {
			a.log.Info("stopped with points in the spool; the next start sends them", "n", n)
		}
		err = errors.Join(err, a.out.disk.spool.Close())
	}
	return err
}

// openSpool opens the spool, if there is to be one; it locks its folder, so that two
// agents never share it.
func (a *Agent) openSpool() error {
	if a.cfg.Spool.Dir == "" || len(a.out.senders) == 0 {
		return nil
	}
	sp, err := spool.Open(spool.Options{Dir: a.cfg.Spool.Dir, MaxBytes: int64(a.cfg.Spool.MaxSize) << 20, DropOldest: true, Now: a.now})
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	st := sp.Stats()
	a.out.taken.Add(int(st.Held)) // what an earlier life has left
	a.out.mu.Lock()
	defer a.out.mu.Unlock()
	a.out.disk = &store{spool: sp, most: int64(a.cfg.Spool.MaxSize) << 20, dirty: make(chan struct{}, 1)}
	if st.Held > 0 {
		a.log.Info("points of an earlier start are in the spool; they are sent first", "n", st.Held)
	}
	return nil
}

// outlive returns a context that ends d after ctx has.
func outlive(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		run.Sleep(longer, d)
		cancel()
	})
	return longer, func() {
		stop()
		cancel()
	}
}

// sources runs what makes points until ctx ends.
func (a *Agent) sources(ctx context.Context, ln net.Listener) error {
	g := run.New(ctx)
	if ln != nil {
		g.Go("http", func(ctx context.Context) error {
			return httpx.Serve(ctx, ln, a.handler(), a.cfg.Drain.D(), a.log)
		})
	}
	if a.cfg.Transfer.Enabled {
		g.Go("collect", a.look)
	}
	if a.cfg.Heartbeat.Enabled {
		g.Go("hbs", a.talk)
	}
	if a.cfg.Plugin.Enabled {
		g.Go("plugins", a.plugins.Run)
	}
	if len(a.cfg.Scrape) > 0 {
		g.Go("scrape", a.scraper.Run)
	}
	if a.cfg.Ping.Enabled {
		g.Go("ping", a.pinger.Run)
	}
	if a.up != nil {
		g.Go("upgrade", a.upgrades)
	}
	g.Go("names", a.roads.watch)
	g.Go("self", a.self.Run)
	g.Go("exit", func(ctx context.Context) error {
		select {
		case <-a.left:
			run.Sleep(ctx, exitAfter)
		case <-ctx.Done():
		}
		return nil
	})
	g.Go("forget", func(ctx context.Context) error {
		return run.Every(ctx, forgetEvery, func(context.Context) { a.series.forget() })
	})
	a.log.Info("serving", "endpoint", a.endpoint, "http", listenAddr(ln), "transfers", a.cfg.Transfer.Addrs)
	if a.deps.Ready != nil {
		a.deps.Ready()
	}
	return g.Wait()
}

func listenAddr(ln net.Listener) string {
	if ln == nil {
		return "off"
	}
	return ln.Addr().String()
}
