package main

import (
	"context"
	"time"
)

// upFirst is the time from falcon up on an empty folder until the page is there.
func upFirst(ctx context.Context, b *bench) (float64, string, error) {
	began := time.Now()
	p, _, err := b.up(ctx)
	if err != nil {
		return 0, "", err
	}
	return time.Since(began).Seconds(), "", p.kill()
}
