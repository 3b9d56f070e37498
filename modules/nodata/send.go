package nodata

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"falcon/common/httpx"
	"falcon/common/run"
)

// A batch is tried maxTries times, with pauses that double from a second on up to
// maxPause: a minute and a half. After that it helps nobody.
const (
	maxTries = 8
	maxPause = 30 * time.Second
)

// send posts what is in the outbox until ctx ends. When that is since life has ended, it
// posts what is left within the drain.
func (n *Nodata) send(ctx, life context.Context) error {
	n.dropped.Add("queue_full", n.out.begin())
	n.sends.Store(true)
	defer n.sends.Store(false)
	n.log.Info("this nodata sends")
	for {
		for n.sendOnce(ctx) > 0 {
		}
		select {
		case <-n.out.wake:
			continue
		case <-ctx.Done():
		}
		break
	}
	if life.Err() == nil {
		// Another one has the lock, and these mocks as well.
		n.dropped.Add("handed_over", n.out.end())
		n.trouble.Clear("push mocks to transfer")
		n.log.Info("this nodata stands by: another one sends")
		return nil
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.cfg.Drain.D())
	defer cancel()
	for n.sendOnce(last) > 0 {
	}
	if left := n.out.end(); left > 0 {
		n.dropped.Add("stopped", left)
		n.log.Warn("mocks are lost: transfer took none before the end", "n", left)
	}
	return nil
}

// sendOnce sends one batch and returns how many mocks it was; 0 when there is none, or
// ctx has ended and it is still there.
func (n *Nodata) sendOnce(ctx context.Context) int {
	if ctx.Err() != nil {
		return 0
	}
	batch := n.out.take(n.cfg.sendBatch())
	if len(batch) == 0 {
		return 0
	}
	n.sendRuns.Add(1)
	n.sendAt.Store(n.now().Unix())
	pause := time.Second
	for try := 1; ; try++ {
		invalid, err := n.push(ctx, batch)
		if err == nil {
			n.trouble.Clear("push mocks to transfer")
			n.sent.Add(len(batch) - invalid)
			n.dropped.Add("invalid", invalid)
			return len(batch)
		}
		if ctx.Err() != nil {
			n.giveBack(batch)
			return 0
		}
		n.trouble.Set(n.log, "mocks are not sent", "push mocks to transfer", err)
		if se, ok := errors.AsType[*httpx.StatusError](err); ok && se.Code/100 == 4 && se.Code != http.StatusTooManyRequests {
			n.dropped.Add("refused", len(batch)) // it will say so again
			return len(batch)
		}
		if try == maxTries {
			n.dropped.Add("transfer_away", len(batch))
			n.log.Warn("mocks are lost: no transfer took them", "n", len(batch), "tries", try, "err", err)
			return len(batch)
		}
		n.retries.Add(1)
		if !run.Sleep(ctx, pause) {
			n.giveBack(batch)
			return 0
		}
		pause = min(2*pause, maxPause)
	}
}

func (n *Nodata) giveBack(batch []Mock) {
	if !n.out.giveBack(batch) {
		n.dropped.Add("handed_over", len(batch))
	}
}

// push posts mocks to a transfer and returns how many it refused. When it fails the next
// push goes to the next transfer.
func (n *Nodata) push(ctx context.Context, batch []Mock) (invalid int, err error) {
	body, err := json.Marshal(batch)
	if err != nil {
		return 0, err
	}
	addrs := n.cfg.transfers()
	address := addrs[int(n.transfer.Load())%len(addrs)] + "/api/push"
	defer func() {
		if err != nil {
			n.transfer.Add(1)
		}
	}()
	b, err := n.pusher.Post(ctx, address, body)
	if err != nil {
		return 0, err
	}
	var answer struct {
		Msg  string `json:"msg"`
		Data struct{ Invalid int }
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return 0, fmt.Errorf("the answer of %s: %w", address, err)
	}
	if answer.Msg != "success" {
		return 0, fmt.Errorf("%s: %q", address, answer.Msg)
	}
	return min(max(answer.Data.Invalid, 0), len(batch)), nil
}
