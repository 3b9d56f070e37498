package fleet

import (
	"fmt"
	"os"
	"testing"
	"time"

	"falcon/common/testkit"
)

// The database is away for a minute, ten seconds in the short form. Points are stored,
// the rules judge on, also in a judge and an hbs that are started meanwhile, and people are
// told of what they find. Rows are written afterwards: of every event one.
func TestDatabaseAwayForAMinute(t *testing.T) {
	t.Parallel()
	k := newKillChain(t)
	away := 10 * time.Second
	if os.Getenv("FALCON_SOAK") != "" {
		away = time.Minute
	}
	k.works("alarm")
	k.mariadb.Kill()
	back := time.Now().Add(away)
	k.says("alarm-0", "write events")
	rounds, told := k.rounds(), k.sink.count()
	// goesOn waits until the chain has stored and told so much more.
	goesOn := func(more int) {
		t.Helper()
		testkit.Eventually(t, 30*time.Second, func() error {
			if r, n := k.rounds(), k.sink.count(); r < rounds+int64(more) || n < told+more {
				return fmt.Errorf("%d rounds and %d messages since the database is away", r-rounds, n-told)
			}
			return nil
		})
	}
	goesOn(30)
	for _, name := range []string{"judge-0", "hbs-0", "transfer-0", "graph-0", "agent-0"} {
		k.process(name).Kill()
		k.start(name, "")
		k.healthy(name)
	}
	if err := k.inForce(k.feeders[0].host(0), killMetric, killHigh/2); err != nil {
		t.Error(err)
	}
	rounds, told = k.rounds(), k.sink.count()
	for more := 30; time.Now().Before(back) || more == 30; more += 30 {
		goesOn(more)
	}
	t.Logf("while the database was away: %d rounds of %d points, %d messages", k.rounds()-rounds, len(k.feeders)*killHosts, k.sink.count()-told)
	k.mariadb.Start()
	k.healthy("alarm-0")
	k.verify()
}
