package transfer

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"falcon/common/conf"
	"falcon/common/daemon"
	"falcon/common/ring"
)

// Config is the configuration of a transfer. Keys of stock keep their names and
// units.
type Config struct {
	daemon.Base
	// MinStep is the shortest step that graph and judge get, in seconds: a series
	// with a shorter one is stored at this step, one value for each.
	MinStep int `json:"minStep"`
	// TsPolicy says which timestamps are replaced by now: default (0 or less, and
	// what is ahead by more than 300 s and 3 steps), stock (beyond twice now) or
	// fork (off by more than 3 steps either way).
	TsPolicy string          `json:"ts_policy"`
	HTTP     daemon.Listener `json:"http"`
	RPC      daemon.Listener `json:"rpc"`
	Socket   Socket          `json:"socket"`
	Graph    Peers           `json:"graph"`
	Judge    Peers           `json:"judge"`
	// StringJudge are the judges of texts; while it is not enabled those of Judge are,
	// which then have to be ours: a stock judge takes no texts.
	StringJudge Peers `json:"stringJudge"`
	Transfer    Relay `json:"transfer"`
	Spool       Spool `json:"spool"`
	Ack         Ack   `json:"ack"`
	// FleetKey is shown to judges and plus_judges that are asked to acknowledge; they have
	// the same.
	FleetKey conf.Secret `json:"fleet_key"`

	// The rest are destinations of stock and its fork that are not there yet.
	Tsdb     Other `json:"tsdb"`
	Influxdb Other `json:"influxdb"`
	P8sRelay Other `json:"p8s_relay"`
	Poly     Other `json:"poly"`
	Kafka    Other `json:"kafka"`
	Prome    Other `json:"prome"`
}

// Peers are the graphs or judges that points go to.
type Peers struct {
	Enabled bool `json:"enabled"`
	// Batch is how many points a call carries: to a stock peer as in stock, on a
	// stream at least 1000.
	Batch       int         `json:"batch"`
	ConnTimeout conf.Millis `json:"connTimeout"`
	CallTimeout conf.Millis `json:"callTimeout"`
	MaxConns    int         `json:"maxConns"`
	MaxIdle     int         `json:"maxIdle"`
	// Replicas is how many points a node has on the ring; 0 means 500. It and
	// RingHash must be the same in transfer, api and every gateway.
	Replicas int `json:"replicas"`
	// RingHash is crc32 (stock) or murmur3 (fork).
	RingHash string `json:"ringHash"`
	// Cluster names the nodes: "graph-00": "10.0.0.1:6070". A graph may have several
	// addresses, separated by commas; each gets every point.
	Cluster map[string]string `json:"cluster"`
	// TLS makes the streams to the peers speak TLS; stock peers do not.
	TLS daemon.ClientTLS `json:"tls"`
	// SpoolAge is how old a spooled point may become before it is dropped as stale;
	// 0 means any age.
	SpoolAge conf.Duration `json:"spoolAge"`
	// Failover is for how long no address of a judge's node may answer before the next
	// nodes of the ring judge its series, until it is back; 0 or "", the default, is
	// never. Graphs have replicas instead.
	Failover conf.Duration `json:"failover,omitempty"`
}

// Relay is the other transfers that points go to: each to one of them, as it came.
type Relay struct {
	Enabled bool `json:"enabled"`
	// Batch is how many points a call to a stock transfer carries.
	Batch       int         `json:"batch"`
	ConnTimeout conf.Millis `json:"connTimeout"`
	CallTimeout conf.Millis `json:"callTimeout"`
	MaxConns    int         `json:"maxConns"`
	MaxIdle     int         `json:"maxIdle"`
	// Retry is stock's number of rounds. A point is tried until it is taken.
	Retry int `json:"retry"`
	// Cluster names the transfers, an address each: "t1": "10.0.0.1:8433".
	Cluster map[string]string `json:"cluster"`
	// TLS makes the streams to them speak TLS; stock transfers do not.
	TLS daemon.ClientTLS `json:"tls"`
	// SpoolAge is how old a spooled point may become before it is dropped as stale;
	// 0 means any age.
	SpoolAge conf.Duration `json:"spoolAge"`
}

// Spool is where points wait for a peer that does not take them.
type Spool struct {
	// Dir holds a folder for each address.
	Dir string `json:"dir"`
	// MaxSize bounds each of them, in MB.
	MaxSize int `json:"maxSize"`
	// After is how long a peer may take to acknowledge before its points are
	// spooled.
	After conf.Duration `json:"after"`
}

// Other is a section of stock that this release knows and does not serve.
type Other struct {
	Enabled bool           `json:"enabled"`
	Rest    map[string]any `json:"-"`
}

// UnmarshalJSON takes whatever stock has in such a section.
func (o *Other) UnmarshalJSON(b []byte) error { return unmarshalOther(b, o) }

// DefaultConfig returns the configuration of a transfer whose file is empty: one
// graph on this machine.
func DefaultConfig() Config {
	peers := Peers{
		Batch: 200, ConnTimeout: conf.Millis(time.Second), CallTimeout: conf.Millis(5 * time.Second),
		MaxConns: 32, MaxIdle: 32, Replicas: ring.DefaultReplicas, RingHash: ring.CRC32,
	}
	c := Config{
		Base: daemon.DefaultBase(), MinStep: 30, TsPolicy: "default",
		HTTP: daemon.Listener{Enabled: true, Listen: "0.0.0.0:6060"},
		RPC:  daemon.Listener{Enabled: true, Listen: "0.0.0.0:8433"},
		Socket: Socket{
			Listener: daemon.Listener{Enabled: true, Listen: "0.0.0.0:4444"}, Timeout: conf.Seconds(time.Hour),
		},
		Graph: peers, Judge: peers, StringJudge: peers,
		Spool: Spool{Dir: "./data/spool/transfer", MaxSize: 1024, After: conf.Duration(500 * time.Millisecond)},
	}
	c.Transfer = Relay{Batch: 200, Retry: 3, ConnTimeout: peers.ConnTimeout, CallTimeout: peers.CallTimeout, MaxConns: 32, MaxIdle: 32}
	c.Graph.Enabled = true
	c.Graph.Cluster = map[string]string{"graph-00": "127.0.0.1:6070"}
	c.Judge.Cluster = map[string]string{"judge-00": "127.0.0.1:6080"}
	c.Judge.SpoolAge = conf.Duration(10 * time.Minute)
	c.StringJudge.Cluster, c.StringJudge.SpoolAge = map[string]string{"judge-00": "127.0.0.1:6080"}, c.Judge.SpoolAge
	return c
}

// GatewayConfig returns the configuration of a gateway whose file is empty: a
// transfer that hands everything to another one, on this machine.
func GatewayConfig() Config {
	c := DefaultConfig()
	c.HTTP.Listen, c.RPC.Listen, c.Socket.Listen = "0.0.0.0:16060", "0.0.0.0:18433", "0.0.0.0:14444"
	c.Graph.Enabled, c.Judge.Enabled = false, false
	c.Transfer.Enabled = true
	c.Transfer.Cluster = map[string]string{"t1": "127.0.0.1:8433"}
	c.Spool.Dir = "./data/spool/gateway"
	return c
}

// Validate reports every setting that can not work.
func (c *Config) Validate() error {
	errs := []error{c.Base.Validate(), c.HTTP.Validate("http"), c.RPC.Validate("rpc"), c.Socket.Validate("socket")}
	if c.Socket.Timeout <= 0 {
		c.Socket.Timeout = conf.Seconds(time.Hour) // stock would close each connection at once
	}
	if c.MinStep < 1 {
		c.MinStep = 30 // as stock takes it
	}
	switch c.TsPolicy {
	case "default", "stock", "fork":
	default:
		errs = append(errs, fmt.Errorf("ts_policy: %q is unknown, use default, stock or fork", c.TsPolicy))
	}
	errs = append(errs, c.Graph.validate("graph"), c.Judge.validate("judge"), c.StringJudge.validate("stringJudge"), c.Transfer.validate(), c.Ack.validate())
	if c.Graph.Enabled && len(c.Graph.Cluster) == 0 {
		errs = append(errs, errors.New(`graph.cluster: name at least one node, such as "graph-00": "127.0.0.1:6070"`))
	}
	if c.Spool.Dir == "" || c.Spool.MaxSize < 1 || c.Spool.After.D() <= 0 {
		errs = append(errs, errors.New("spool: dir must be a folder, maxSize at least 1 MB, after greater than zero"))
	}
	for _, o := range []struct {
		name string
		on   bool
	}{{"tsdb", c.Tsdb.Enabled}, {"influxdb", c.Influxdb.Enabled}, {"p8s_relay", c.P8sRelay.Enabled},
		{"poly", c.Poly.Enabled}, {"kafka", c.Kafka.Enabled}, {"prome", c.Prome.Enabled}} {
		if o.on {
			errs = append(errs, fmt.Errorf("%s.enabled: this release does not send to %s yet; set it to false, or keep the stock transfer for it", o.name, o.name))
		}
	}
	return errors.Join(errs...)
}

func (p *Peers) validate(section string) error {
	if !p.Enabled {
		return nil
	}
	var errs []error
	for node, addrs := range p.Cluster {
		for addr := range strings.SplitSeq(addrs, ",") {
			if _, _, err := net.SplitHostPort(strings.TrimSpace(addr)); err != nil {
				errs = append(errs, fmt.Errorf("%s.cluster.%s: %q is no address, write host:port", section, node, addr))
			}
		}
	}
	if len(p.Cluster) > 0 {
		if _, err := p.ring(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", section, err))
		}
	}
	if d := p.Failover.D(); d > 0 {
		switch {
		case section == "graph":
			errs = append(errs, errors.New("graph.failover: points of a graph that is away wait for it; give its node two addresses for a replica"))
		case d < minFailover:
			errs = append(errs, fmt.Errorf("%s.failover: %v is shorter than a restart takes, use at least %v", section, d, minFailover))
		case len(p.Cluster) < 2:
			errs = append(errs, fmt.Errorf("%s.failover: nobody could stand in, name a second node in %s.cluster", section, section))
		}
	}
	positive(&p.Batch, 200)
	positive(&p.MaxConns, 32)
	positive(&p.MaxIdle, p.MaxConns)
	if p.ConnTimeout <= 0 || p.CallTimeout <= 0 {
		errs = append(errs, fmt.Errorf("%s: connTimeout and callTimeout must be greater than zero", section))
	}
	return errors.Join(errs...)
}

// positive replaces a number that stock takes as it is and then never sends: the
// default is meant.
func positive(v *int, d int) {
	if *v <= 0 {
		*v = d
	}
}

func (r *Relay) validate() error {
	if !r.Enabled {
		return nil
	}
	var errs []error
	if len(r.Cluster) == 0 {
		errs = append(errs, errors.New(`transfer.cluster: name at least one transfer, such as "t1": "10.0.0.1:8433"`))
	}
	for node, addr := range r.Cluster {
		if _, _, err := net.SplitHostPort(strings.TrimSpace(addr)); err != nil {
			errs = append(errs, fmt.Errorf("transfer.cluster.%s: %q is no address, write host:port", node, addr))
		}
	}
	positive(&r.Batch, 200)
	positive(&r.MaxConns, 32)
	positive(&r.MaxIdle, r.MaxConns)
	if r.ConnTimeout <= 0 || r.CallTimeout <= 0 {
		errs = append(errs, errors.New("transfer: connTimeout and callTimeout must be greater than zero"))
	}
	return errors.Join(errs...)
}

func (p *Peers) ring() (*ring.Ring, error) {
	names := make([]string, 0, len(p.Cluster))
	for name := range p.Cluster {
		names = append(names, name)
	}
	return ring.New(p.RingHash, p.Replicas, names)
}

// Retired lists keys of stock and its fork that we do not need.
func (c *Config) Retired() map[string]string {
	return map[string]string{"redis": "poly_metric tells transfer its rules itself"}
}
