package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"falcon/common/httpx"
	"falcon/modules/fleet"
)

// check prints a line for each daemon of the configuration: whether it answers, and
// if not, why. It fails when one does not.
func check(ctx context.Context, c *cli, args []string) error {
	cfg, rest, err := configured(c, "check", args)
	if err != nil {
		return err
	}
	if err := noMore(c, "check", rest); err != nil {
		return err
	}
	client := httpx.NewClient(httpx.Options{Tries: 1, Timeout: 3 * time.Second})
	bad := 0
	for _, d := range fleet.Daemons(cfg) {
		state := health(ctx, client, d.Health)
		if state != "ok" {
			bad++
		}
		fmt.Fprintf(c.stdout, "%-12s %-22s %s\n", d.Name, d.Health, state)
	}
	if bad > 0 {
		return fmt.Errorf("%d daemons do not answer or are not well; falcon up starts them", bad)
	}
	return nil
}

func health(ctx context.Context, client *httpx.Client, addr string) string {
	_, err := client.Get(ctx, "http://"+addr+"/health")
	if err == nil {
		return "ok"
	}
	if se, ok := errors.AsType[*httpx.StatusError](err); ok {
		return string(bytes.TrimSpace(se.Body))
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return "down: nobody listens there"
	}
	return err.Error()
}
