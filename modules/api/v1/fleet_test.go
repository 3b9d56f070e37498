package v1

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"

	"falcon/common/httpx"
	"falcon/common/stat"
)

// aDaemon answers as a daemon's admin pages do.
type aDaemon struct {
	health  string // with its status; "" hangs until nobody waits any more
	rows    []stat.Row
	refused bool // nobody listens
	asked   int
}

func (d *aDaemon) Get(ctx context.Context, path string) ([]byte, error) {
	d.asked++
	switch {
	case d.refused:
		return nil, errors.New("connection refused")
	case d.health == "":
		<-ctx.Done()
		return nil, ctx.Err()
	case path == "/health":
		status, text, _ := strings.Cut(d.health, " ")
		if status != "200" {
			return nil, &httpx.StatusError{Method: "GET", URL: path, Code: 503, Body: []byte(text)}
		}
		return []byte(text), nil
	case d.rows == nil:
		return nil, &httpx.StatusError{Method: "GET", URL: path, Code: 404}
	}
	return json.Marshal(map[string]any{"msg": "success", "data": d.rows})
}

func (d *aDaemon) Post(context.Context, string, []byte) ([]byte, error) { panic("nothing is changed") }
func (d *aDaemon) Delete(context.Context, string) ([]byte, error)       { panic("nothing is changed") }

func counter(name string, n int64, parts ...any) stat.Row {
	r := stat.Row{Name: name, Cnt: n, Other: map[string]int64{}}
	for i := 0; i < len(parts); i += 2 {
		r.Other[parts[i].(string)] = int64(parts[i+1].(int))
	}
	return r
}

func rate(v *float64) string {
	if v == nil {
		return "?"
	}
	return fmt.Sprintf("%.1f", *v)
}

// What each daemon says, what is summed up of them, and how often they are asked.
func TestTheHealthOfTheRoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transfer := &aDaemon{health: "200 ok\ngraph b at b:6070: 7 points are spooled for it\n", rows: []stat.Row{
			counter("RecvCnt", 1000), counter("RecvInvalidCnt", 4, "late", 3, "bad_value", 1, "none", 0), counter("SpoolCnt", 7), counter("StaleCnt", 2),
		}}
		graph := &aDaemon{health: "200 ok", rows: []stat.Row{counter("TakenCnt", 500), counter("RefusedCnt", 19, "old", 9, "duplicate", 10)}}
		away := &aDaemon{refused: true}
		judge := &aDaemon{health: "503 judge has no rules\n", rows: []stat.Row{counter("strategy.age", 12), counter("strategy.count", 30), counter("event.spool", 5)}}
		hung := &aDaemon{}
		stock := &aDaemon{health: "200 ok"}
		alarms := &aDaemon{health: "200 ok", rows: []stat.Row{counter("queue.len", 11), counter("lag.sec", 3), counter("unrecovered", 2)}}
		alarms2 := *alarms // sees the same lists
		own := stat.New("api")
		f := watchFleet(Fleet{Timeout: 2 * time.Second, Health: func() error { return nil }, Daemons: []Watched{
			{"transfer", "t:6060", transfer}, {"graph", "a:6071", graph}, {"graph", "b:6071", away}, {"judge", "j:6081", judge}, {"hbs", "h:6031", hung},
			{"judge", "s:6081", stock}, {"alarm", "l1:9912", alarms}, {"alarm", "l2:9912", &alarms2},
		}}, own, time.Now)
		look := func() *fleetLook {
			t.Helper()
			l, err := f.look(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		l := look()
		var got []string
		for _, d := range l.Daemons {
			got = append(got, fmt.Sprintf("%s %s %s %q", d.Name, d.Addr, d.State, d.Words))
		}
		want := []string{
			`transfer t:6060 note ["graph b at b:6070: 7 points are spooled for it"]`, `graph a:6071 ok []`, `graph b:6071 away ["connection refused"]`,
			`judge j:6081 unready ["judge has no rules"]`, `hbs h:6031 away ["context deadline exceeded"]`, `judge s:6081 ok []`, `alarm l1:9912 ok []`, `alarm l2:9912 ok []`, `api  ok []`,
		}
		if !slices.Equal(got, want) {
			t.Errorf("daemons\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if want := []string{"graph b:6071", "hbs h:6031", "judge s:6081"}; !slices.Equal(l.Partial, want) {
			t.Errorf("missing %q, want %q", l.Partial, want)
		}
		r := l.Road
		if got, want := fmt.Sprint(rate(r.In), rate(r.Stored), r.Spooled, r.Stale, r.Rules, r.RulesAge, r.RowsAge, r.Events, r.LagSec, r.Open), "??7 2 30 12 -1 16 3 2"; got != want {
			t.Errorf("road %s, want %s", got, want)
		}
		reasons := func(l *fleetLook) (all []string) {
			for _, r := range l.Refused {
				all = append(all, fmt.Sprint(r.Daemon, " ", r.Reason, " ", r.N, " ", rate(r.Rate)))
			}
			return all
		}
		if got, want := reasons(l), []string{"graph duplicate 10 ?", "graph old 9 ?", "transfer late 3 ?", "transfer bad_value 1 ?"}; !slices.Equal(got, want) {
			t.Errorf("refused %q, want %q", got, want)
		}
		if transfer.asked != 4 {
			t.Errorf("the first look asked %d times, want twice two pages", transfer.asked)
		}
		look()
		if transfer.asked != 4 {
			t.Error("a look that is a moment old is not good enough")
		}
		// Ten seconds later, and the two that hbs was waited for, rates are what came in those twelve.
		time.Sleep(10 * time.Second)
		hung.health = "200 ok"
		transfer.rows[0].Cnt, transfer.rows[1].Other["late"], transfer.rows[1].Cnt = 2240, 27, 28
		graph.rows[1].Other["duplicate"], graph.rows[1].Cnt = 130, 139
		graph.rows[0].Cnt = 100 // it was started anew
		l = look()
		if got, want := rate(l.Road.In)+" "+rate(l.Road.Stored)+" "+rate(l.Road.Refused)+" "+reasons(l)[0]+", "+reasons(l)[1], "103.3 8.3 2.0 graph duplicate 130 10.0, transfer late 27 2.0"; got != want {
			t.Errorf("later %s, want %s", got, want)
		}
		// Nobody has asked for long: rates are of this moment and not of the night.
		time.Sleep(time.Hour)
		transfer.rows[0].Cnt = 9_000_000
		if l = look(); rate(l.Road.In) != "?" {
			t.Errorf("after an hour %s", rate(l.Road.In))
		}
		// Who does not wait gets nothing, and leaves nothing behind.
		time.Sleep(time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if l, err := f.look(ctx); err == nil {
			t.Errorf("a cut look answered %+v", l)
		}
		if l = look(); len(l.Daemons) != 9 {
			t.Errorf("after it %+v", l)
		}
	})
}

// Over HTTP: the header names what is missing, and without daemons it is said how to name some.
func TestFleetRoute(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	get := func(f Fleet) *httptest.ResponseRecorder {
		s := &server{Deps: Deps{Stats: stat.New("api")}, watch: watchFleet(f, stat.New("x"), time.Now)}
		s.counts.partial = s.Stats.Counter("", "p", "p")
		rec := httptest.NewRecorder()
		g, _ := gin.CreateTestContext(rec)
		g.Request = httptest.NewRequest("GET", "/", nil)
		v, err := s.fleet(&Call{gin: g})
		if err != nil {
			_, _ = io.WriteString(rec, err.Error())
			return rec
		}
		_ = json.NewEncoder(rec).Encode(v)
		return rec
	}
	rec := get(Fleet{Timeout: time.Second, Health: func() error { return errors.New("database uic: away") }, Daemons: []Watched{{"graph", "b:6071", &aDaemon{refused: true}}}})
	if got := rec.Header().Get(headerPartial); got != "graph b:6071" {
		t.Errorf("header %q", got)
	}
	for _, want := range []string{`"in":null`, `"state":"away"`, `"words":["database uic: away"]`, `"rules_age":-1`, `"refused":[]`} {
		if !strings.Contains(rec.Body.String(), want) {
			t.Errorf("the answer lacks %s: %s", want, rec.Body)
		}
	}
	if rec := get(Fleet{}); !strings.Contains(rec.Body.String(), "name them in fleet.daemons") {
		t.Errorf("nobody to ask: %s", rec.Body)
	}
}
