package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"time"

	"falcon/common/conf"
	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/redisx"
)

// alarmEvents counts the events that one alarm writes down and tells in a second: each
// is one form POST to a sink on this machine, and its rows in MariaDB. Redis and MariaDB
// are private, and share the machine with alarm and the sink.
func alarmEvents(ctx context.Context, b *bench) (float64, string, error) {
	dsn := os.Getenv("FALCON_TEST_MYSQL")
	if dsn == "" {
		return 0, "", errors.New(`FALCON_TEST_MYSQL is not set: eval "$(scripts/services.sh up)" first`)
	}
	prefix := fmt.Sprintf("falcon_bench_%d_", time.Now().UnixNano())
	at := func(name string) string { return dsn + prefix + name + "?loc=Local&parseTime=true" }
	return alarmRun(ctx, b, 60_000, portal.Config{
		AlarmsDSN: at("alarms"), PortalDSN: at("falcon_portal"), UICDSN: at("uic"), Only: []string{portal.Alarms, portal.Portal, portal.UIC},
	})
}

// alarmSQLite is the same with the rows in a file.
func alarmSQLite(ctx context.Context, b *bench) (float64, string, error) {
	return alarmRun(ctx, b, 21_000, portal.Config{Dir: filepath.Join(b.dir, "portal"), Only: []string{portal.Alarms, portal.Portal, portal.UIC}})
}

func alarmRun(ctx context.Context, b *bench, events int, at portal.Config) (perSecond float64, remark string, err error) {
	pool, stop, err := privateRedis(ctx, b)
	if err != nil {
		return 0, "", err
	}
	defer stop()
	db, err := portal.Open(ctx, at, nil)
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	action, err := alarmPeople(ctx, db)
	if err != nil {
		return 0, "", err
	}

	var posts atomic.Int64
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, "", err
	}
	sink := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // what is in it does not matter
		posts.Add(1)
		_, _ = io.WriteString(w, "ok")
	})}
	go func() { _ = sink.Serve(ln) }() // ends with Close
	defer sink.Close()

	addr, err := freeAddr()
	if err != nil {
		return 0, "", err
	}
	p, err := b.daemon(ctx, "falcon-alarm", map[string]any{
		"http": listen(addr), "redis": map[string]any{"addr": "unix:" + filepath.Join(b.dir, "redis.sock")},
		"falcon_portal": map[string]any{"addr": at.AlarmsDSN},
		"db":            map[string]any{"dir": at.Dir, "falcon_portal": at.PortalDSN, "uic": at.UICDSN},
		"api":           map[string]any{"im": "http://" + ln.Addr().String() + "/im"},
	}, addr)
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, p.kill()) }()

	began := time.Now()
	cpu, err := p.measured(func() error {
		if err := alarmPush(ctx, pool, action, events); err != nil {
			return err
		}
		for deadline := began.Add(3 * time.Minute); posts.Load() < int64(events); {
			if time.Sleep(10 * time.Millisecond); time.Now().After(deadline) {
				return fmt.Errorf("%d of %d events are told", posts.Load(), events)
			}
		}
		return nil
	})
	took := time.Since(began)
	if err != nil {
		return 0, "", err
	}
	// The rows are there, each once.
	cases, err := db.OpenCases(ctx)
	if err == nil && cases != 0 {
		err = fmt.Errorf("%d cases are open after their recovery", cases)
	}
	if n := posts.Load(); err == nil && n != int64(events) {
		err = fmt.Errorf("%d events were told %d times", events, n)
	}
	rate := float64(events) / took.Seconds()
	return rate, fmt.Sprintf("%d events in %.1f s, %.0f µs of alarm's CPU each", events, took.Seconds(), cpu*1e6/float64(events)), err
}

// privateRedis starts a redis-server that ends with stop.
func privateRedis(ctx context.Context, b *bench) (pool *redisx.Pool, stop func(), err error) {
	socket := filepath.Join(b.dir, "redis.sock")
	cmd := exec.Command("redis-server", "--port", "0", "--unixsocket", socket, "--dir", b.dir, "--save", "", "--appendonly", "no")
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	cfg := redisx.DefaultConfig()
	cfg.Addr = conf.DSN("unix:" + socket)
	if pool, err = redisx.New(cfg); err != nil {
		return nil, nil, err
	}
	stop = func() {
		_ = pool.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed, and says so
	}
	for range 500 {
		if err = pool.Ping(ctx); err == nil {
			return pool, stop, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	return nil, nil, err
}

// alarmPeople makes a team of one and an action that tells it.
func alarmPeople(ctx context.Context, db *portal.DB) (action int64, err error) {
	if err := db.Migrate(ctx); err != nil {
		return 0, err
	}
	user, err := db.CreateUser(ctx, portal.User{Name: "ann", IM: "im-ann"})
	if err != nil {
		return 0, err
	}
	if _, err := db.CreateTeam(ctx, portal.Team{Name: "ops"}, []int64{user}); err != nil {
		return 0, err
	}
	template, err := db.CreateTemplate(ctx, portal.Template{Name: "base", CreateUser: "ann"})
	if err != nil {
		return 0, err
	}
	return db.SetTemplateAction(ctx, template, portal.Action{UIC: "ops"})
}

// alarmPush pushes events as judge does: problems of many series, their second step,
// and their recovery.
func alarmPush(ctx context.Context, pool *redisx.Pool, action int64, events int) error {
	begin := time.Now().Unix() - 1000
	const pipe = 200
	var cmds []redisx.Cmd
	for i := range events {
		series, phase := i%(events/3), i/(events/3)
		pk := fmt.Sprintf("host-%06d/cpu.idle", series)
		e := model.Event{
			Id: "s_10_" + model.Checksum(pk), Status: "PROBLEM", Endpoint: pk[:11], LeftValue: float64(i % 97), CurrentStep: 1 + phase%2,
			EventTime: begin + int64(phase)*300 + int64(series%60), PushedTags: map[string]string{},
			Strategy: &model.Strategy{Id: 10, Metric: "cpu.idle", Tags: map[string]string{}, Func: "all(#3)", Operator: "<", RightValue: 5, MaxStep: 3,
				Priority: series % 3, Note: "cpu is busy", Tpl: &model.Template{Id: 7, Name: "base", ActionId: int(action), Creator: "root"}},
		}
		if phase == 2 {
			e.Status = "OK"
		}
		raw, err := json.Marshal(&e)
		if err != nil {
			return err
		}
		if cmds = append(cmds, redisx.C("LPUSH", redisx.Event(e.Priority()), raw)); len(cmds) == pipe || i == events-1 {
			if _, err := pool.Pipe(ctx, cmds...); err != nil {
				return err
			}
			cmds = cmds[:0]
		}
	}
	return nil
}
