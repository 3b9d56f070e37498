package redisx

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var upgradeLimit = UpgradeLimit{Queue: 20, Expire: 70 * time.Second, Tries: 3, Backoff: 10 * time.Minute}

// Many hbs order at once: as many hosts as there are places have one, and the plain set
// of the fork names them.
func TestUpgradePlacesAreExact(t *testing.T) {
	each(t, func(t *testing.T, p *Pool, _ func(time.Duration)) {
		ctx, now := t.Context(), time.Unix(1_800_000_000, 0)
		if err := p.BeginUpgrade(ctx, `{}`, map[string]string{"id": "a", "state": "running", "limit": "1000", "rev": "0"}); err != nil {
			t.Fatal(err)
		}
		var got atomic.Int64
		var wg sync.WaitGroup
		for hbs := range 4 {
			wg.Go(func() {
				for i := range 30 {
					said, err := p.TakeUpgrade(ctx, "a", fmt.Sprintf("h%d-%d", hbs, i), upgradeLimit, now)
					if err != nil || said != UpgradeGo && said != UpgradeQueue {
						t.Errorf("%q, %v", said, err)
					}
					if said == UpgradeGo {
						got.Add(1)
					}
				}
			})
		}
		wg.Wait()
		members, err := Strings(p.Do(ctx, "SMEMBERS", UpgradeSet))
		if err != nil || got.Load() != 20 || len(members) != 20 {
			t.Fatalf("%d ordered, %d in %s, want 20; %v", got.Load(), len(members), UpgradeSet, err)
		}
		// A host that says it is on its way keeps its place; the others' expire one by one.
		keeps := members[0]
		if _, err := p.NoteUpgrade(ctx, "a", keeps, "upgrading", "", upgradeLimit.Expire, now.Add(69*time.Second)); err != nil {
			t.Fatal(err)
		}
		if said, err := p.TakeUpgrade(ctx, "a", "next", upgradeLimit, now.Add(70*time.Second)); err != nil || said != UpgradeGo {
			t.Fatalf("%q, %v", said, err)
		}
		members, err = Strings(p.Do(ctx, "SMEMBERS", UpgradeSet))
		slices.Sort(members)
		want := []string{keeps, "next"}
		slices.Sort(want)
		if err != nil || !slices.Equal(members, want) {
			t.Errorf("%q have places, want %q; %v", members, want, err)
		}
		if n, err := Int64(p.Do(ctx, "ZCARD", UpgradeDue)); err != nil || n != 2 {
			t.Errorf("%d in %s, %v", n, UpgradeDue, err)
		}
	})
}

// What a host is told, and what becomes of what it tells.
func TestUpgradeOfOneHost(t *testing.T) {
	each(t, func(t *testing.T, p *Pool, _ func(time.Duration)) {
		ctx, at := t.Context(), time.Unix(1_800_000_000, 0)
		begin := func(id string) {
			t.Helper()
			if err := p.BeginUpgrade(ctx, `{"id":"`+id+`"}`, map[string]string{"id": id, "state": "running", "limit": "2", "rev": "0"}); err != nil {
				t.Fatal(err)
			}
		}
		take := func(id, host string, after time.Duration, want string) {
			t.Helper()
			if said, err := p.TakeUpgrade(ctx, id, host, upgradeLimit, at.Add(after)); err != nil || said != want {
				t.Errorf("%s after %v: %q, %v; want %q", host, after, said, err, want)
			}
		}
		note := func(host, state, text string, after time.Duration, news bool) {
			t.Helper()
			if got, err := p.NoteUpgrade(ctx, "a", host, state, text, upgradeLimit.Expire, at.Add(after)); err != nil || got != news {
				t.Errorf("%s is %s: news %v, %v; want %v", host, state, got, err, news)
			}
		}
		begin("a")
		note("h1", "done", "", 0, false) // it had the version before
		take("a", "h1", 0, UpgradeGo)
		take("a", "h1", time.Minute, UpgradeHas)
		take("other", "h2", 0, UpgradeStopped)
		note("h1", "failed", "wrong MD5 | twice", 90*time.Second, true)
		note("h1", "failed", "again", 91*time.Second, false)
		take("a", "h1", 2*time.Minute, UpgradeBackoff)
		take("a", "h1", 12*time.Minute, UpgradeGo)
		note("h1", "failed", "x", 13*time.Minute, true)
		take("a", "h1", 32*time.Minute, UpgradeBackoff) // twice as long
		take("a", "h1", 34*time.Minute, UpgradeGo)
		note("h1", "failed", "x", 35*time.Minute, true)
		take("a", "h1", 1000*time.Hour, UpgradeOver)
		take("a", "h2", time.Hour, UpgradeGo)
		take("a", "h3", time.Hour, UpgradeStep)
		note("h3", "left", "self_upgrade is false", time.Hour, true)
		note("h2", "done", "", time.Hour+time.Minute, true)
		note("h2", "done", "", time.Hour+2*time.Minute, false)
		if n, err := p.RetryUpgrades(ctx, "a"); err != nil || n != 1 {
			t.Errorf("%d may try again, %v", n, err)
		}
		take("a", "h1", 1001*time.Hour, UpgradeGo)
		hosts, err := p.UpgradeHostsOf(ctx)
		if err != nil || len(hosts) != 3 || hosts["h3"].Text != "self_upgrade is false" || hosts["h2"].State != "done" || hosts["h1"].Tries != 1 {
			t.Errorf("%+v, %v", hosts, err)
		}

		_, wave, err := p.Upgrade(ctx)
		if err != nil || wave["ordered"] != "2" {
			t.Fatalf("%v, %v", wave, err)
		}
		for _, tc := range []struct {
			rev string
			ok  bool
		}{{wave["rev"], true}, {wave["rev"], false}} {
			if ok, err := p.ChangeWave(ctx, "a", tc.rev, map[string]string{"state": "stopped"}); err != nil || ok != tc.ok {
				t.Errorf("ChangeWave at %s: %v, %v; want %v", tc.rev, ok, err, tc.ok)
			}
		}
		take("a", "h4", 2000*time.Hour, UpgradeStopped)
		begin("b") // another order forgets the first
		if hosts, err := p.UpgradeHostsOf(ctx); err != nil || len(hosts) != 0 {
			t.Errorf("%v, %v", hosts, err)
		}
		if err := p.CancelUpgrade(ctx); err != nil {
			t.Fatal(err)
		}
		if order, _, err := p.Upgrade(ctx); err == nil {
			t.Errorf("after the cancellation there is an order: %s", order)
		}
		take("b", "h1", 0, UpgradeStopped)
	})
}
