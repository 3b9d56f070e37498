package fleet

import (
	"testing"

	"falcon/modules/load"
)

// startLoad sends points until all are acknowledged, and verifies them if cfg says so. wait
// returns when that is done, and the test does not end before.
func startLoad(t testing.TB, cfg load.Config) (wait func() (*load.Report, error)) {
	t.Helper()
	l, err := load.New(cfg, load.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	var report *load.Report
	done := make(chan struct{})
	go func() {
		defer close(done)
		report, err = l.Run(t.Context())
	}()
	wait = func() (*load.Report, error) {
		<-done
		return report, err
	}
	t.Cleanup(func() { <-done })
	return wait
}
