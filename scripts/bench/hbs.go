package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/cespare/xxhash/v2"

	"falcon/common/conf"
	"falcon/common/portal"
	"falcon/common/redisx"
	"falcon/common/rpc"
	"falcon/common/rulebook"
	"falcon/modules/hbs"
)

const (
	ruleHosts      = 20_000
	ruleGroups     = 40
	ruleStrategies = 30 // on each host: ten of the base template, twenty of its group's
)

// rulePortal is the portal of the runs: its rows are in memory, so what is measured is
// hbs without its database.
type rulePortal struct{ rows *portal.RuleRows }

func (p rulePortal) RuleRows(context.Context) (*portal.RuleRows, error) { return p.rows, nil }

func (p rulePortal) SaveHostAgents(context.Context, []portal.HostAgent) error { return nil }

func (p rulePortal) HostAgents(context.Context, []string) (map[string]portal.HostAgent, error) {
	return nil, nil
}

func (p rulePortal) SaveHosts(context.Context, []portal.HostReport, string, bool) ([]string, error) {
	return nil, nil
}

func newRulePortal() rulePortal {
	r := &portal.RuleRows{Templates: []portal.RuleTemplate{{ID: 1, Name: "base", Action: 1, Creator: "root"}}}
	id := 0
	add := func(tpl, n int) {
		for i := range n {
			id++
			r.Strategies = append(r.Strategies, portal.RuleStrategy{
				ID: id, Template: tpl, Metric: fmt.Sprintf("metric.group%02d.name%03d", tpl, i), Tags: "mount=/data,fstype=ext4", MaxStep: 3, Priority: 2,
				Func: "all(#3)", Op: ">", RightValue: fmt.Sprint(80 + i), Note: fmt.Sprintf("rule %d of template %d", i, tpl),
			})
		}
	}
	add(1, 10)
	for g := 1; g <= ruleGroups; g++ {
		r.Groups = append(r.Groups, portal.RuleGroup{ID: g, Name: fmt.Sprint("group", g)})
		r.Templates = append(r.Templates, portal.RuleTemplate{ID: g + 1, Name: fmt.Sprint("template", g), Parent: 1, Action: g + 1, Creator: "root"})
		r.GroupTemplates = append(r.GroupTemplates, portal.RulePair{Group: g, Other: g + 1})
		add(g+1, ruleStrategies-10)
	}
	for h := 1; h <= ruleHosts; h++ {
		r.Hosts = append(r.Hosts, portal.RuleHost{ID: h, Name: ruleHost(h)})
		r.GroupHosts = append(r.GroupHosts, portal.RulePair{Group: int(xxhash.Sum64String(ruleHost(h))%ruleGroups) + 1, Other: h})
	}
	return rulePortal{r}
}

// ruleHost names a host without a pattern that would compress away.
func ruleHost(h int) string {
	return fmt.Sprintf("host-%010x.example", xxhash.Sum64String(fmt.Sprint(h))>>24)
}

// serveHBS is the process that is measured: this program, started again.
func serveHBS(addr, redis string) error {
	cfg := hbs.DefaultConfig()
	cfg.Listen, cfg.HTTP.Enabled, cfg.Redis.Enabled = addr, false, redis != ""
	cfg.Liveness.Enabled = false
	deps := hbs.Deps{Log: slog.New(slog.DiscardHandler), Portal: newRulePortal()}
	if redis != "" {
		cfg.Redis.Addr = conf.DSN(redis)
		pool, err := redisx.New(cfg.RedisConfig())
		if err != nil {
			return err
		}
		deps.Redis = pool
	}
	h, err := hbs.New(cfg, deps)
	if err != nil {
		return err
	}
	return h.Run(context.Background())
}

// ruled starts an hbs with its rules compiled.
func ruled(ctx context.Context, b *bench) (p *process, addr string, err error) {
	return ruledWith(ctx, b, "")
}

// ruledWith is ruled of an hbs that publishes its rules in a Redis.
func ruledWith(ctx context.Context, b *bench, redis string) (p *process, addr string, err error) {
	if addr, err = freeAddr(); err != nil {
		return nil, "", err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	log, err := os.Create(filepath.Join(b.dir, "hbs.log"))
	if err != nil {
		return nil, "", err
	}
	p = &process{cmd: exec.Command(self, "-serve-hbs", addr, "-redis", redis), log: log}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, "", err
	}
	until := time.Now().Add(30 * time.Second)
	for {
		if _, err = fetchBook(ctx, addr, ""); err == nil {
			return p, addr, nil
		}
		if time.Now().After(until) {
			_ = p.kill()
			return nil, "", err
		}
	}
}

func fetchBook(ctx context.Context, addr, version string) (*rulebook.Reply, error) {
	c := rpc.NewClient(rpc.ClientOptions{Addr: addr, Codec: rpc.Msgpack})
	defer c.Close()
	var reply rulebook.Reply
	err := c.Call(ctx, rulebook.Method, &rulebook.Request{Judge: "bench", Version: version}, &reply)
	return &reply, err
}

func hbsRulesSize(ctx context.Context, b *bench) (float64, string, error) {
	p, addr, err := ruled(ctx, b)
	if err != nil {
		return 0, "", err
	}
	defer p.kill()
	reply, err := fetchBook(ctx, addr, "")
	if err != nil {
		return 0, "", err
	}
	book, err := rulebook.Decode(reply.Body)
	if err != nil {
		return 0, "", err
	}
	if len(book.Hosts) != ruleHosts || len(book.Of(ruleHost(7))) != ruleStrategies {
		return 0, "", fmt.Errorf("a book of %d hosts, %d strategies on one", len(book.Hosts), len(book.Of(ruleHost(7))))
	}
	return float64(len(reply.Body)) / 1e6, fmt.Sprintf("%d hosts x %d strategies to one judge, compressed", ruleHosts, ruleStrategies), nil
}

// shared calls fn with an hbs whose rules are published in a Redis of its own.
func shared(ctx context.Context, b *bench, fn func(p *process, addr string) error) error {
	socket := filepath.Join(b.dir, "redis")
	redis, err := b.startAt("redis-server", "--port", "0", "--unixsocket", socket, "--dir", b.dir, "--save", "", "--appendonly", "no")
	if err != nil {
		return err
	}
	defer redis.kill()
	p, addr, err := ruledWith(ctx, b, "unix:"+socket)
	if err != nil {
		return err
	}
	defer p.kill()
	settings := redisx.DefaultConfig()
	settings.Addr = conf.DSN("unix:" + socket)
	pool, err := redisx.New(settings)
	if err != nil {
		return err
	}
	defer pool.Close()
	for until := time.Now().Add(30 * time.Second); ; {
		r, err := pool.Do(ctx, "EXISTS", redisx.HBSBook)
		if n, _ := redisx.Int64(r, err); n == 1 {
			return fn(p, addr)
		}
		if time.Now().After(until) {
			return errors.Join(errors.New("the rules are not in Redis"), err)
		}
	}
}

func hbsSharedTime(ctx context.Context, b *bench) (ms float64, said string, err error) {
	err = shared(ctx, b, func(_ *process, addr string) (err error) {
		ms, said, err = fetchTime(ctx, addr)
		return err
	})
	return ms, said + ", the rules published in Redis", err
}

func hbsSharedMemory(ctx context.Context, b *bench) (gb float64, said string, err error) {
	err = shared(ctx, b, func(p *process, addr string) (err error) {
		gb, said, err = fetchMemory(ctx, p, addr)
		return err
	})
	return gb, said + ", the rules published in Redis", err
}

// hbsRulesTime is from the question to the book in the judge's memory, the hash
// checked.
func hbsRulesTime(ctx context.Context, b *bench) (float64, string, error) {
	p, addr, err := ruled(ctx, b)
	if err != nil {
		return 0, "", err
	}
	defer p.kill()
	return fetchTime(ctx, addr)
}

func fetchTime(ctx context.Context, addr string) (float64, string, error) {
	best := time.Hour
	for range 5 {
		began := time.Now()
		reply, err := fetchBook(ctx, addr, "")
		if err != nil {
			return 0, "", err
		}
		book, err := rulebook.Decode(reply.Body)
		if err != nil {
			return 0, "", err
		}
		if book.Version().String() != reply.Version {
			return 0, "", rulebook.ErrMismatch
		}
		best = min(best, time.Since(began))
	}
	return float64(best.Microseconds()) / 1000, "wall, decoding and hash check included", nil
}

// counted counts the bytes of a connection, both ways.
type counted struct {
	net.Conn
	n *int
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	*c.n += n
	return n, err
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	*c.n += n
	return n, err
}

func hbsRulesSame(ctx context.Context, b *bench) (float64, string, error) {
	p, addr, err := ruled(ctx, b)
	if err != nil {
		return 0, "", err
	}
	defer p.kill()
	full, err := fetchBook(ctx, addr, "")
	if err != nil {
		return 0, "", err
	}
	n := 0
	c := rpc.NewClient(rpc.ClientOptions{Addr: addr, Codec: rpc.Msgpack, Dial: func(ctx context.Context, addr string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", addr)
		return counted{conn, &n}, err
	}})
	var reply rulebook.Reply
	err = c.Call(ctx, rulebook.Method, &rulebook.Request{Judge: "bench", Version: full.Version, Wait: 1}, &reply)
	c.Close()
	if err == nil && reply.Kind != rulebook.NotModified {
		err = fmt.Errorf("it answers %s", reply.Kind)
	}
	return float64(n) / 1000, "both ways, the connection's begin included", err
}

func hbsMemory(ctx context.Context, b *bench) (float64, string, error) {
	p, addr, err := ruled(ctx, b)
	if err != nil {
		return 0, "", err
	}
	defer p.kill()
	return fetchMemory(ctx, p, addr)
}

func fetchMemory(ctx context.Context, p *process, addr string) (float64, string, error) {
	var wg sync.WaitGroup
	errs := make(chan error, 4)
	for range 4 {
		wg.Go(func() {
			for range 20 {
				if _, err := fetchBook(ctx, addr, ""); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return 0, "", err
	default:
	}
	return p.peak() / 1024, "peak RSS, four judges fetching, default GOGC", nil
}
