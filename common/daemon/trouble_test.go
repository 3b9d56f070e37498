package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What does not work is said in words, once a minute in the log, until it works.
func TestTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said strings.Builder
		log := slog.New(slog.NewTextHandler(&said, nil))
		var tr Trouble
		if err := tr.Err(); err != nil || tr.Has("b") {
			t.Errorf("in the beginning: %v", err)
		}
		for range 4 { // a minute and a half
			tr.Set(log, "it waits", "write b", errors.New("no room"))
			tr.Set(log, "it waits", "ask a", errors.New("no answer"))
			time.Sleep(30 * time.Second)
		}
		if got := fmt.Sprint(tr.Err()); got != "ask a: no answer\nwrite b: no room" {
			t.Errorf("health is %q", got)
		}
		if n := strings.Count(said.String(), "it waits"); n != 4 {
			t.Errorf("said %d times in a minute and a half, want each twice:\n%s", n, said.String())
		}
		tr.Clear("ask a")
		tr.Clear("never heard of")
		if got := fmt.Sprint(tr.Err()); got != "write b: no room" || tr.Has("ask a") || !tr.Has("write b") {
			t.Errorf("health is %q", got)
		}
		tr.Set(log, "it waits", "ask a", errors.New("no answer"))
		if n := strings.Count(said.String(), "it waits"); n != 4 {
			t.Error("what comes and goes fills the log")
		}
	})
}
