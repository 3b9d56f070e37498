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
	k := newKillChainOn(t, 32, func(string) {}) // a minute of points for judge is more than the other tests spool
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
