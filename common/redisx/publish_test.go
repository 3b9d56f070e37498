package redisx

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Whoever was held up beyond the lock can not write over the one who came after, and
// readers find what was published last with all of its data.
func TestPublishRules(t *testing.T) {
	each(t, func(t *testing.T, p *Pool, after func(time.Duration)) {
		if _, err := p.RulesInForce(t.Context()); !errors.Is(err, Nil) {
			t.Fatalf("before anything: %v", err)
		}
		take := func() *Lock {
			t.Helper()
			l, err := p.TryFenced(t.Context(), HBSLock, HBSGeneration, time.Minute)
			if err != nil || l == nil {
				t.Fatal(l, err)
			}
			return l
		}
		a := take()
		if l, err := p.TryFenced(t.Context(), HBSLock, HBSGeneration, time.Minute); err != nil || l != nil {
			t.Fatal("two hold it", l, err)
		}
		if v, err := String(p.Do(t.Context(), "GET", HBSLock)); err != nil || len(strings.Split(v, ":")) != 3 || !strings.HasPrefix(v, fmt.Sprint(time.Now().Add(time.Minute).Unix()/100)) {
			t.Errorf("the lock says %q %v, want expiry:instance:token", v, err)
		}
		asked := 0
		publish := func(l *Lock, version string) bool {
			t.Helper()
			ok, err := p.PublishRules(t.Context(), l.Generation, Rules{Version: version, Book: "b" + version, Checked: 7}, func() []byte { asked++; return []byte("data of " + version) })
			if err != nil {
				t.Fatal(err)
			}
			return ok
		}
		wants := func(version string) {
			t.Helper()
			r, err := p.RulesInForce(t.Context())
			if err != nil || r.Version != version || r.Book != "b"+version || r.Checked != 7 || r.By != instance {
				t.Errorf("in force is %+v, %v, want %s", r, err, version)
			}
			if body, err := p.RulesBody(t.Context(), version); err != nil || string(body) != "data of "+version {
				t.Errorf("data %q %v", body, err)
			}
		}
		first, again := publish(a, "1"), publish(a, "1")
		if !first || !again || asked != 1 {
			t.Errorf("the data of one version were asked for %d times", asked)
		}
		wants("1")
		// They went: they come along again.
		if _, err := p.Do(t.Context(), "DEL", HBSRules("1")); err != nil {
			t.Fatal(err)
		}
		if !publish(a, "1") {
			t.Error("not published")
		}
		wants("1")

		after(2 * time.Minute)
		b := take()
		if b.Generation <= a.Generation {
			t.Errorf("generation %d after %d", b.Generation, a.Generation)
		}
		if publish(a, "old") {
			t.Error("who lost the lock published")
		}
		wants("1")
		if !publish(b, "2") {
			t.Error("not published")
		}
		wants("2")
		if err := a.Release(t.Context()); err != nil {
			t.Error(err)
		}
		if ok, err := b.Renew(t.Context()); err != nil || !ok {
			t.Error("released what somebody else holds", err)
		}

		// Redis forgets everything: the next generation is no earlier one.
		for _, key := range []string{HBSLock, HBSGeneration, HBSBook} {
			if _, err := p.Do(t.Context(), "DEL", key); err != nil {
				t.Fatal(err)
			}
		}
		c := take()
		if c.Generation == a.Generation || c.Generation == b.Generation {
			t.Errorf("generation %d was there before", c.Generation)
		}
		if publish(b, "3") {
			t.Error("who held the lock before Redis forgot it published")
		}
		if !publish(c, "4") {
			t.Error("not published")
		}
		wants("4")
	})
}
