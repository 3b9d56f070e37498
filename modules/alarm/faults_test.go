package alarm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"falcon/common/portal"
	"falcon/common/redisx"
	"falcon/common/testkit"
	"falcon/modules/alarm/sender"
	"falcon/modules/alarm/sender/sendertest"
)

// sameWorker returns n ids that one worker works; others are of that part.
func sameWorker(prefix string, n int) (ids []string) {
	for i := 0; len(ids) < n; i++ {
		if id := fmt.Sprint(prefix, i); partOf(id, parts) == 3 {
			ids = append(ids, id)
		}
	}
	return ids
}

// within waits longer than eventually: a lease has to expire, on a machine that is busy.
func within(t *testing.T, d time.Duration, try func() error) {
	t.Helper()
	testkit.Eventually(t, d, try)
}

func (w *world) toldAs(id, want string) func() error {
	return func() error {
		if n := w.notices(id); !slices.Contains(n, want) {
			return fmt.Errorf("%s: %q", id, n)
		}
		return nil
	}
}

func (w *world) posts(n int) func() error {
	return func() error {
		if got := len(w.sink.Posts("/im")); got != n {
			return fmt.Errorf("%d posts, want %d", got, n)
		}
		return nil
	}
}

type oneTeamDown struct{ People }

func (p oneTeamDown) Users(ctx context.Context, teams []string) ([]sender.Person, error) {
	if slices.Contains(teams, "bad") {
		return nil, fmt.Errorf("team bad: %w", noID("a team"))
	}
	return p.People.Users(ctx, teams)
}

// A team of which the api can not speak holds up nobody else.
func TestOneTeamDown(t *testing.T) {
	w := newWorld(t)
	w.channel("bell", "inbox", nil)
	bad, good := w.action(portal.Action{UIC: "bad"}), w.action(portal.Action{UIC: "ops"})
	w.before = func(a *Alarm) { a.people.from = oneTeamDown{a.people.from} }
	ids := sameWorker("s_", 2)
	at := time.Now().Unix() - 1000
	w.push(event(ids[0], bad, 1, "PROBLEM", at, 0), event(ids[1], good, 1, "PROBLEM", at, 0))
	w.start()
	within(t, 30*time.Second, w.toldAs(ids[1], "ann bell sent 1 1"))
}

// A provider that hangs and a Redis that was away for a moment do not stop the others.
func TestHungProviderAndRedis(t *testing.T) {
	w := newWorld(t)
	w.channel("bell", "inbox", nil)
	w.set = func(c *Config) { c.API.IM = w.sink.URL + "/im" }
	slow, good := w.action(portal.Action{UIC: "ops", Channels: "im"}), w.action(portal.Action{UIC: "ops", Channels: "bell"})
	ids := sameWorker("s_", 2)
	at := time.Now().Unix() - 1000
	r := w.start()
	w.sink.Hold()
	t.Cleanup(w.sink.Release)
	w.push(event(ids[0], slow, 1, "PROBLEM", at, 0))
	w.eventually(w.posts(1))
	w.redis.Kill()
	w.eventually(func() error {
		if r.health() == nil {
			return errors.New("healthy")
		}
		return nil
	})
	w.redis.Start()
	w.push(event(ids[1], good, 1, "PROBLEM", at, 0))
	within(t, 30*time.Second, w.toldAs(ids[1], "ann bell sent 1 1"))
}

// Redis blinks: the alarm that deals goes on, and does not leave its place for a lease.
func TestDealsAfterABlink(t *testing.T) {
	w := newWorld(t)
	w.lease = time.Minute
	w.set = func(c *Config) { c.API.IM = w.sink.URL + "/im" }
	action := w.action(portal.Action{UIC: "ops", Channels: "im"})
	w.start()
	at := time.Now().Unix() - 1000
	w.push(event("s_1", action, 1, "PROBLEM", at, 1))
	w.eventually(w.posts(1))
	for i := range 3 {
		w.redis.Kill()
		w.redis.Start()
		w.push(event(fmt.Sprint("s_2", i), action, 1, "PROBLEM", at, 1))
		w.eventually(w.posts(2 + i))
	}
}

// Another alarm that starts while a provider hangs does not stop the parts that it is to have.
func TestSecondWhileProviderHangs(t *testing.T) {
	w := newWorld(t)
	w.channel("bell", "inbox", nil)
	w.set = func(c *Config) { c.API.IM, c.Worker.IM = w.sink.URL+"/im", 1 }
	slow, good := w.action(portal.Action{UIC: "ops", Channels: "im"}), w.action(portal.Action{UIC: "ops", Channels: "bell"})
	at := time.Now().Unix() - 1000
	a := w.start()
	w.sink.Hold()
	t.Cleanup(w.sink.Release)
	const n = 100
	for i := range n {
		w.push(event(fmt.Sprint("s_slow", i), slow, 1, "PROBLEM", at, 0))
	}
	w.eventually(func() error {
		if got := a.inHand(); got != n {
			return fmt.Errorf("%d in hand", got)
		}
		return nil
	})
	b := w.start()
	within(t, 30*time.Second, func() error {
		if got := b.holds.Load(); got != parts/2 {
			return fmt.Errorf("the second holds %d parts", got)
		}
		return nil
	})
	for i := range n {
		w.push(event(fmt.Sprint("s_good", i), good, 1, "PROBLEM", at, 0))
	}
	within(t, 30*time.Second, func() error {
		waits := 0
		for i := range n {
			if len(w.notices(fmt.Sprint("s_good", i))) == 0 {
				waits++
			}
		}
		if waits > 0 {
			return fmt.Errorf("%d of %d are not told", waits, n)
		}
		return nil
	})
}

// An alarm that was cut off, or stopped for a while, does not tell what the one that took
// over has told, least of all after the recovery.
func TestCutOff(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		action := w.action(portal.Action{UIC: "ops"})
		ids := sameWorker("s_", 2)
		at := time.Now().Unix() - 1000
		w.set = func(c *Config) { c.API.IM, c.Worker.IM = w.sink.URL+"/im", 1 }
		a := w.start()
		w.sink.Hold()
		w.push(event(ids[0], action, 1, "PROBLEM", at, 0))
		w.eventually(w.posts(1))
		w.push(event(ids[1], action, 1, "PROBLEM", at, 0))
		w.eventually(w.toldAs(ids[1], "ann im queued 1 1"))
		_ = a.deps.Redis.Close()
		other := sendertest.HTTP(t)
		w.set = func(c *Config) { c.API.IM, c.Worker.IM = other.URL+"/im", 1 }
		w.start()
		w.eventually(w.toldAs(ids[1], "ann im sent 2 1"))
		w.push(event(ids[1], action, 1, "OK", at+60, 0))
		w.eventually(func() error {
			if n := len(other.Posts("/im")); n != 3 {
				return fmt.Errorf("%d posts", n)
			}
			return nil
		})
		w.sink.Release()
		w.eventually(func() error { // the one that was cut off is done with both
			if n := a.inHand(); n != 0 {
				return fmt.Errorf("%d in hand", n)
			}
			return nil
		})
		if got := w.contents("/im"); len(got) != 1 {
			t.Errorf("told by the one that was cut off, after the recovery: %q", got[1:])
		}
		if n := w.notices(ids[1]); !slices.Contains(n, "ann im sent 2 1") {
			t.Errorf("%q", n)
		}
	})
}

// An incident whose recovery was deleted with old events is over all the same.
func TestOldIncident(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.set = func(c *Config) { c.API.IM = w.sink.URL + "/im"; c.Housekeeper.Days = 1000 }
		action := w.action(portal.Action{UIC: "ops"})
		old, at := time.Now().Unix()-20*86400, time.Now().Unix()-10_000
		w.start()
		w.push(event("s_1", action, 1, "PROBLEM", old, 0), event("s_1", action, 2, "PROBLEM", old+300, 0), event("s_1", action, 3, "PROBLEM", old+600, 0),
			event("s_1", action, 1, "OK", old+900, 0))
		w.eventually(w.posts(4))
		w.eventually(w.empty)
		if _, err := w.db.DeleteEvents(t.Context(), time.Now().Add(-7*24*time.Hour), 1000); err != nil {
			t.Fatal(err)
		}
		w.push(event("s_1", action, 1, "PROBLEM", at, 0))
		w.eventually(w.posts(5))
		w.push(event("s_1", action, 1, "PROBLEM", at+400, 0)) // judge forgot
		w.eventually(w.empty)
		w.eventually(func() error {
			if n := len(w.notices("s_1")); n != 12 {
				return fmt.Errorf("%q", w.notices("s_1"))
			}
			return nil
		})
		if got := w.contents("/im"); len(got) != 6 || !strings.Contains(got[5], "[O2 ") {
			t.Errorf("told %q, want the second step at the end; %q", got, w.notices("s_1"))
		}
	})
}

// And an event that comes again after a kill, between its rows and its messages, is told.
func TestOldIncidentKilledBetween(t *testing.T) {
	w := newWorld(t)
	w.set = func(c *Config) { c.API.IM = w.sink.URL + "/im"; c.Housekeeper.Days = 1000 }
	action := w.action(portal.Action{UIC: "ops"})
	old, at := time.Now().Unix()-20*86400, time.Now().Unix()-10_000
	w.start()
	w.push(event("s_1", action, 1, "PROBLEM", old, 0), event("s_1", action, 2, "PROBLEM", old+300, 0), event("s_1", action, 3, "PROBLEM", old+600, 0),
		event("s_1", action, 1, "OK", old+900, 0))
	w.eventually(w.posts(4))
	w.eventually(w.empty)
	if _, err := w.db.DeleteEvents(t.Context(), time.Now().Add(-7*24*time.Hour), 1000); err != nil {
		t.Fatal(err)
	}
	e := event("s_1", action, 1, "PROBLEM", at, 0)
	if _, err := w.db.SaveEvents(t.Context(), []portal.AlarmEvent{{Event: e}}); err != nil { // and the kill
		t.Fatal(err)
	}
	w.push(e)
	within(t, 30*time.Second, w.posts(5))
}

// What could not be sent is not told.
func TestFailedIsNotTold(t *testing.T) {
	w := newWorld(t)
	w.set = func(c *Config) { c.API.IM = w.sink.URL + "/im" }
	action := w.action(portal.Action{UIC: "ops"})
	at := time.Now().Unix() - 1000
	w.start()
	w.sink.Refuse(tries)
	w.push(event("s_1", action, 1, "PROBLEM", at, 0))
	w.eventually(w.toldAs("s_1", "ann im failed 3 1"))
	w.push(event("s_1", action, 1, "PROBLEM", at+60, 0)) // judge was restarted
	within(t, 30*time.Second, w.toldAs("s_1", "ann im sent 1 1"))
}

// evil is a way to a Redis that once loses the answer to a worker that takes an event, and is
// gone for a while.
type evil struct {
	socket string
	mu     sync.Mutex
	armed  bool
	until  time.Time
	conns  []net.Conn
}

func newEvil(t *testing.T, to string, dark time.Duration) *evil {
	dir, err := os.MkdirTemp("", "evil")
	if err != nil {
		t.Fatal(err)
	}
	e := &evil{socket: filepath.Join(dir, "s")}
	ln, err := net.Listen("unix", e.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close(); _ = os.RemoveAll(dir) })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			e.mu.Lock()
			gone := time.Now().Before(e.until)
			e.mu.Unlock()
			far, err := net.Dial("unix", to)
			if gone || err != nil {
				_ = c.Close()
				continue
			}
			e.mu.Lock()
			e.conns = append(e.conns, c)
			e.mu.Unlock()
			go func() {
				defer far.Close()
				b := make([]byte, 64<<10)
				for {
					n, err := far.Read(b)
					if n > 0 {
						_, _ = c.Write(b[:n])
					}
					if err != nil {
						_ = c.Close()
						return
					}
				}
			}()
			go func() {
				// What is on its way to Redis is still worked there, without anybody to answer.
				defer far.(*net.UnixConn).CloseWrite()
				b := make([]byte, 64<<10)
				for {
					n, err := c.Read(b)
					if n > 0 {
						e.mu.Lock()
						hit := e.armed && bytes.Contains(b[:n], []byte("RPOPLPUSH")) && bytes.Contains(b[:n], []byte("alarm:part"))
						if hit {
							e.armed, e.until = false, time.Now().Add(dark)
							for _, x := range e.conns {
								_ = x.Close()
							}
							e.conns = nil
						}
						e.mu.Unlock()
						_, _ = far.Write(b[:n])
					}
					if err != nil {
						return
					}
				}
			}()
		}
	}()
	return e
}

// An event whose answer is lost, with the lock of its part, is found again.
func TestLostReplyAndLock(t *testing.T) {
	w := newWorld(t)
	w.set = func(c *Config) { c.API.IM = w.sink.URL + "/im" }
	action := w.action(portal.Action{UIC: "ops"})
	straight := w.redis.Socket
	e := newEvil(t, straight, 3*time.Second)
	w.redis.Socket = e.socket
	r := w.start()
	w.redis.Socket = straight
	w.eventually(func() error {
		if r.holds.Load() != parts {
			return errors.New("no parts")
		}
		return nil
	})
	e.mu.Lock()
	e.armed = true
	e.mu.Unlock()
	w.push(event("s_1", action, 1, "PROBLEM", time.Now().Unix()-1000, 0))
	within(t, 30*time.Second, w.posts(1))
}

// A message that another alarm has claimed, which died then, is told.
func TestClaimedByTheDead(t *testing.T) {
	w := newWorld(t)
	w.set = func(c *Config) { c.API.IM, c.Worker.IM = w.sink.URL+"/im", 1 }
	action := w.action(portal.Action{UIC: "ops"})
	ids := sameWorker("s_", 8)
	at := time.Now().Unix() - 1000
	w.start()
	w.sink.Hold()
	for _, id := range ids {
		w.push(event(id, action, 1, "PROBLEM", at, 0))
	}
	last := ids[7]
	w.eventually(w.toldAs(last, "ann im queued 0 1"))
	rows, err := w.db.CaseNotices(t.Context(), last, 10)
	if err != nil {
		t.Fatal(err)
	}
	if mine, err := w.db.ClaimNotices(t.Context(), rows); err != nil || !mine[0] {
		t.Fatal(mine, err)
	}
	w.sink.Release()
	w.eventually(w.empty)
	if n := w.notices(last); !slices.Contains(n, "ann im sent 2 1") {
		t.Errorf("the event is done, its message is %q", n)
	}
}

// A try whose answer did not come says, the next time, that it may be a repeat.
func TestTimeoutIsAPossibleRepeat(t *testing.T) {
	w := newWorld(t)
	w.channel("hook", "webhook", map[string]any{"url": w.sink.URL + "/hook", "timeout": "200ms"})
	action := w.action(portal.Action{UIC: "ops"})
	w.start()
	w.sink.Hold()
	w.push(event("s_1", action, 1, "PROBLEM", time.Now().Unix()-1000, 0))
	w.eventually(w.toldAs("s_1", "hook hook failed 3 1"))
	w.sink.Release()
	posts := w.sink.Posts("/hook")
	for i, p := range posts {
		if i > 0 && !strings.Contains(p.Body, "(possible repeat)") {
			t.Errorf("try %d of %d came through and does not say that it may be a repeat", i+1, len(posts))
		}
	}
}

// An answer of 404 of something that is no api does not say that an action is gone.
func TestNotFoundOfAProxy(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "<html>404 page not found: no upstream</html>", http.StatusNotFound)
	}))
	defer srv.Close()
	_, err := newAPIPeople(srv.URL, "").Action(t.Context(), 5)
	if err == nil || errors.Is(err, portal.ErrNotFound) {
		t.Errorf("%v: the event would be told nobody", err)
	}
}

// A channel may have any name.
func TestChannelNames(t *testing.T) {
	w := newWorld(t)
	hooks := sendertest.HTTP(t)
	w.channel("callback", "webhook", map[string]any{"url": hooks.URL + "/hook"})
	long := strings.Repeat("x", 64)
	w.channel(long, "im", map[string]any{"url": w.sink.URL + "/im"})
	action := w.action(portal.Action{UIC: "ops", URL: hooks.URL + "/callback", Callback: 1, BeforeCallbackSMS: 1, AfterCallbackSMS: 1})
	w.start()
	w.push(event("s_1", action, 1, "PROBLEM", time.Now().Unix()-1000, 0))
	w.eventually(w.empty)
	if n, m := len(hooks.Posts("/hook")), len(w.contents("/im")); n != 1 || m != 3 {
		t.Errorf("%d posts of the webhook, want 1; %d in the chat, want before, the event, after; %q", n, m, w.notices("s_1"))
	}
}

// Many events of a team of which the api can not speak hold up nobody else.
func TestManyHeld(t *testing.T) {
	w := newWorld(t)
	w.channel("bell", "inbox", nil)
	bad, good := w.action(portal.Action{UIC: "bad"}), w.action(portal.Action{UIC: "ops"})
	w.before = func(a *Alarm) { a.people.from = oneTeamDown{a.people.from} }
	ids := sameWorker("s_", maxHeld+batch)
	at := time.Now().Unix() - 1000
	for _, id := range ids {
		w.push(event(id, bad, 1, "PROBLEM", at, 1))
	}
	r := w.start()
	w.eventually(func() error {
		if n := r.heldN.Load(); n < maxHeld {
			return fmt.Errorf("%d held", n)
		}
		return nil
	})
	w.push(event("s_good"+ids[0], good, 1, "PROBLEM", at, 0), event(sameWorker("good", 1)[0], good, 1, "PROBLEM", at, 0))
	within(t, 30*time.Second, w.toldAs(sameWorker("good", 1)[0], "ann bell sent 1 1"))
}

// A stop during the message before a callback leaves no repeat.
func TestStopBeside(t *testing.T) {
	w := newWorld(t)
	w.channel("im2", "im", map[string]any{"url": w.sink.URL + "/im"})
	action := w.action(portal.Action{UIC: "ops", URL: w.sink.URL + "/callback", Callback: 1, BeforeCallbackSMS: 1, Channels: "im2"})
	r := w.start()
	w.sink.Hold()
	w.push(event("s_1", action, 1, "PROBLEM", time.Now().Unix()-1000, 0))
	w.eventually(w.posts(2))
	w.stopWhileHeld(r)
	w.start()
	w.eventually(w.empty)
	if got := w.contents("/im"); len(got) != 2 || strings.Contains(fmt.Sprint(got), "repeat") {
		t.Errorf("%q", got)
	}
}

// An event that comes again while its message is on its way stays in Redis until that is told.
func TestAgainOnItsWay(t *testing.T) {
	w := newWorld(t)
	w.set = func(c *Config) { c.API.IM, c.Worker.IM = w.sink.URL+"/im", 1 }
	w.channel("bell", "inbox", nil)
	action, beside := w.action(portal.Action{UIC: "ops", Channels: "im"}), w.action(portal.Action{UIC: "ops", Channels: "bell"})
	at := time.Now().Unix() - 1000
	a := w.start()
	w.sink.Hold()
	ids := sameWorker("s_", 2)
	e := event(ids[0], action, 1, "PROBLEM", at, 0)
	w.push(e)
	w.eventually(w.posts(1))
	if _, err := w.pool.Do(t.Context(), "FLUSHALL"); err != nil { // Redis was restarted empty
		t.Fatal(err)
	}
	w.push(e, event(ids[1], beside, 1, "PROBLEM", at, 0)) // judge pushes it again
	within(t, 30*time.Second, w.toldAs(ids[1], "ann bell sent 1 1"))
	flying := redisx.Inflight(redisx.Part(partOf(ids[0], parts), e.Priority()), a.instance)
	w.eventually(func() error { // the one behind it is done, so it has been looked at
		left, err := redisx.Strings(w.pool.Do(t.Context(), "LRANGE", flying, 0, -1))
		if err == nil && (len(left) != 1 || !strings.Contains(left[0], ids[0])) {
			err = fmt.Errorf("in flight: %q", left)
		}
		return err
	})
	a.kill()
	w.sink.Release()
	w.start()
	w.eventually(w.empty)
	if n := w.notices(ids[0]); !slices.Contains(n, "ann im sent 2 1") {
		t.Errorf("%q: its row stays so for ever", n)
	}
}
