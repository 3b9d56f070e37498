package fleet

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"falcon/common/testkit"
)

// Each program of the chain, its Redis and its MariaDB hang for a while, as one whose machine does: its connections
// are open and nothing comes back. The others go on, or wait: a graph that hangs keeps no
// point from judge, nor a judge from graph, and transfer names whom it spools for; while
// MariaDB hangs people are told. Once all are back nothing is lost. A minute each in the long
// form.
func TestEachHangs(t *testing.T) {
	t.Parallel()
	k := newKillChain(t, func(k *killChain) { k.spool = 32 }) // a minute of points for judge is more than the other tests spool
	least := 2 * time.Second
	if os.Getenv("FALCON_SOAK") != "" {
		least = time.Minute
	}
	// received is the other one of graph and judge, and what counts the points that it got.
	received := map[string][2]string{"graph": {"judge-0", "recv"}, "judge": {"graph-0", "GraphRpcRecvCnt"}}
	for _, name := range []string{"graph-0", "judge-0", "plus_judge-0", "transfer-0", "agent-0", "alarm-0", "hbs-0"} {
		daemon, _, _ := strings.Cut(name, "-")
		k.works(daemon)
		rounds := k.rounds()
		resume := k.process(name).Pause()
		until := time.After(least)
		if other, ok := received[daemon]; ok {
			before, err := k.counter(other[0], other[1])
			if err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, 30*time.Second, func() error {
				if code, text := k.health("transfer-0"); code != http.StatusOK || !strings.Contains(text, daemon+" "+name+" at") || !strings.Contains(text, "are spooled for it") {
					return fmt.Errorf("transfer says %d %q", code, text)
				}
				if r := k.rounds(); r < rounds+30 {
					return fmt.Errorf("%d rounds are taken while %s hangs", r-rounds, name)
				}
				n, err := k.counter(other[0], other[1])
				if want := float64(30 * killHosts * len(k.feeders)); err == nil && n < before+want {
					err = fmt.Errorf("%s has got %v points while %s hangs, want %v", other[0], n-before, name, want)
				}
				return err
			})
		}
		<-until
		resume()
		k.healthy(name)
	}
	for name, pause := range map[string]func() func(){"redis": k.redis.Pause, "mariadb": k.mariadb.Pause} {
		k.works("alarm")
		rounds, told := k.rounds(), k.sink.count()
		resume := pause()
		until := time.After(least)
		testkit.Eventually(t, 30*time.Second, func() error {
			if r := k.rounds(); r < rounds+30 {
				return fmt.Errorf("%d rounds are taken while %s hangs", r-rounds, name)
			}
			if n := k.sink.count(); name == "mariadb" && n < told+50 {
				return fmt.Errorf("%d messages are sent while %s hangs", n-told, name)
			}
			return nil
		})
		<-until
		resume()
		for _, daemon := range killDaemons {
			k.healthy(daemon)
		}
	}
	k.verify()
}

// halfOpen are the lines of the chain. What goes over one shows in a counter, or else in
// that a rule is edited.
var halfOpen = []struct{ line, name, counter string }{
	{"agent-0 transfer-0", "agent-0", "SendCnt"},
	{"transfer-0 graph-0", "graph-0", "TakenCnt"},
	{"transfer-0 judge-0", "judge-0", "recv"},
	{"judge-0 plus_judge-0", "plus_judge-0", "member.event"},
	{"judge-0 redis", "judge-0", "event.pushed"},
	{"plus_judge-0 redis", "plus_judge-0", "event.pushed"},
	{"alarm-0 redis", "alarm-0", "told"},
	{"alarm-0 mariadb", "alarm-0", "told"},
	{"judge-0 hbs-0", "", ""},
	{"judge-0 hbs-1", "", ""},
	{"hbs-0 redis", "", ""},
	{"hbs-1 redis", "", ""},
	{"hbs-0 mariadb", "", ""},
	{"hbs-1 mariadb", "", ""},
}

// The connections of the chain die without a word, as when the machine at their other end is
// gone and another one has its address: they are open, what is sent is not acknowledged, and
// new ones are good. Whoever dialled gives them up, though nobody says so, and nothing is
// lost. The long form does so with each of them, and with all again and again.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	k := newKillChain(t, func(k *killChain) { k.spool, k.lined = 32, true })
	// die has some lines die, and waits until all goes on.
	die := func(what string, lines ...string) {
		t.Helper()
		k.works("alarm")
		counts := func() (all map[string]float64, err error) {
			all = map[string]float64{}
			for _, h := range halfOpen {
				if h.name == "" {
					continue
				}
				if all[h.line], err = k.counter(h.name, h.counter); err != nil {
					return nil, err
				}
			}
			return all, nil
		}
		began, rounds, made := time.Now(), k.rounds(), map[string]int{}
		for _, l := range lines {
			made[l] = k.lines[l].Die()
		}
		var before map[string]float64
		testkit.Eventually(t, 30*time.Second, func() (err error) { // a page may be slow on a machine that is busy
			before, err = counts()
			return err
		})
		if err := k.edit(); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, 90*time.Second, func() error {
			if r := k.rounds(); r < rounds+30 {
				return fmt.Errorf("%d rounds are taken since the connection of %s died", r-rounds, what)
			}
			now, err := counts()
			if err != nil {
				return err
			}
			for l, n := range now {
				if n < before[l]+10 {
					return fmt.Errorf("what goes over %s has grown by %v since the connection of %s died", l, n-before[l], what)
				}
				if was, died := made[l]; died && k.lines[l].Dials() == was {
					return fmt.Errorf("%s holds on to a dead connection", l)
				}
			}
			return k.inForce("kill-marker", "kill.marker", -float64(k.serial.Load()))
		})
		testkit.Outcome(t, "%s: all goes on %v after the connections died", what, time.Since(began).Round(100*time.Millisecond))
	}
	var all []string
	for _, h := range halfOpen {
		all = append(all, h.line)
	}
	if os.Getenv("FALCON_SOAK") == "" {
		die("all", all...)
	} else {
		for _, l := range all {
			die(l, l)
		}
		for range 5 {
			die("all", all...)
		}
	}
	k.verify()
}
