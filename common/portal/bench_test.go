package portal

import (
	"fmt"
	"testing"
)

// A batch of 500 series of 25 hosts with one tag each: first new ones, then ones
// that are there and only newer.
func BenchmarkIndexWrite(b *testing.B) {
	for _, store := range []string{"sqlite", "mysql"} {
		for _, kind := range []string{"new", "known"} {
			b.Run(store+"/"+kind, func(b *testing.B) {
				cfg := Config{Dir: b.TempDir()}
				if store == "mysql" {
					cfg = testMySQL(b)
				}
				db := openTest(b, cfg)
				cache := NewEndpointCache(10_000)
				batch := func(n int) []IndexRow {
					rows := make([]IndexRow, 500)
					for i := range rows {
						tag := fmt.Sprintf("core=%d", i/25)
						rows[i] = IndexRow{fmt.Sprintf("host-%d", i%25), fmt.Sprintf("cpu%d/%s", n, tag), tag, 60, "GAUGE", int64(1000 + n)}
					}
					return rows
				}
				write(b, db, cache, batch(0)...)
				n := 0
				for b.Loop() {
					n++
					rows := batch(0)
					if kind == "new" {
						rows = batch(n)
					}
					for i := range rows {
						rows[i].Ts = int64(1000 + n)
					}
					write(b, db, cache, rows...)
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(500*n), "µs/row")
			})
		}
	}
}
