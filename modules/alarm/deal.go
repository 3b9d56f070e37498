package alarm

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"falcon/common/failpoint"
	"falcon/common/model"
	"falcon/common/redisx"
	"falcon/common/run"
)

const (
	// parts is how many parts the event ids are divided into.
	parts = 16
	// dealt is how many events are dealt at once.
	dealt = 400
	// idle is how long a reader rests that found nothing.
	idle = 100 * time.Millisecond
	// maxDead is how many dead events are kept.
	maxDead = 10_000
	// maxDeadEvent is how much of a dead event is kept, in bytes.
	maxDeadEvent = 64 << 10
)

// priorityOf returns the list of its part that an event goes to; what is no priority is
// worked as the least of the ordinary ones.
func priorityOf(e *model.Event) int {
	if p := e.Priority(); p >= 0 && p <= 9 {
		return p
	}
	return 8
}

// dead is an element of the list of events that can not be told.
type dead struct {
	List   string `json:"list"`
	Reason string `json:"reason"`
	At     int64  `json:"at"`
	Event  string `json:"event"` // as it was read, 64 KiB at most
}

// bury makes the move of an event that can not be told.
func (a *Alarm) bury(e redisx.Element, reason string) redisx.Moved {
	text := string(e.Payload[:min(len(e.Payload), maxDeadEvent)])
	raw, _ := json.Marshal(dead{e.List, reason, a.now().Unix(), strings.ToValidUTF8(text, "\ufffd")}) // strings can be marshalled
	a.dead.Add(1)
	a.failing.Set(a.log, "an event can not be told; it is in the list "+redisx.Dead, deadEvent, errText(reason))
	return redisx.Moved{Element: e, To: redisx.Dead, With: raw, Max: maxDead}
}

// deadEvent is what failing has of them.
const deadEvent = "event"

type errText string

func (e errText) Error() string { return string(e) }

// deal is the work of the one alarm that holds the lock: it takes events from the lists
// of judge and puts each into its part, in order. A crash in between deals some twice.
// When Redis blinks it begins again, and steps down for another only when it can not deal
// for half a lease.
func (a *Alarm) deal(ctx context.Context) error {
	lists, _, _ := a.cfg.queues()
	q := a.deps.Redis.NewQueue(a.instance, lists...)
	for good, pause := time.Now(), idle; ctx.Err() == nil && time.Since(good) < a.lease/2; pause = min(2*pause, time.Second) {
		if err := a.dealFrom(ctx, q, func() { good, pause = time.Now(), idle }); err != nil && ctx.Err() == nil {
			a.failing.Set(a.log, "something is tried again until it works", "deal events", err)
		}
		run.Sleep(ctx, pause)
	}
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = q.Resign(after) // or whoever deals next takes over
	return nil
}

// dealFrom deals until something fails, and calls well whenever nothing did. It begins
// with what was in flight when an answer of Redis was lost, or the lock, and with what
// others had.
func (a *Alarm) dealFrom(ctx context.Context, q *redisx.Queue, well func()) error {
	// What was in flight may be in its part as well. Who tells without rows has to know, also
	// when this alarm dies before it deals anything.
	made, err := redisx.String(a.deps.Redis.Do(ctx, "SET", redisx.AlarmRedealt, a.instance, "EX", 3600, "NX"))
	if errors.Is(err, redisx.Nil) {
		err = nil // it stands there already
	}
	again := a.dealtBefore.Swap(true)
	if err == nil {
		err = q.Resign(ctx)
	}
	if err == nil {
		err = q.Announce(ctx)
	}
	if err == nil {
		err = q.TakeOver(ctx, func(who string, n int) {
			again = true
			a.log.Info("events of an alarm that is gone are dealt", "instance", who, "n", n)
		})
	}
	if err == nil && made != "" && !again {
		_, err = a.deps.Redis.Do(ctx, "DEL", redisx.AlarmRedealt)
	}
	if err != nil {
		return err
	}
	a.log.Info("this alarm deals the events", "instance", a.instance)
	for ctx.Err() == nil {
		n, err := a.dealSome(ctx, q)
		if err != nil {
			return err
		}
		well()
		if n == 0 {
			a.failing.Clear("deal events")
			run.Sleep(ctx, idle)
		}
	}
	return nil
}

// dealSome deals what is there, and returns how many events that was.
func (a *Alarm) dealSome(ctx context.Context, q *redisx.Queue) (int, error) {
	elements, err := q.Pop(ctx, dealt)
	if err != nil || len(elements) == 0 {
		return 0, err
	}
	failpoint.Reached("alarm.taken")
	moves := make([]redisx.Moved, len(elements))
	for i, e := range elements {
		event, err := Decode(e.Payload)
		if err != nil {
			moves[i] = a.bury(e, err.Error())
			continue
		}
		moves[i] = redisx.Moved{Element: e, To: redisx.Part(partOf(event.Id, parts), priorityOf(event)), With: e.Payload}
	}
	// An order to stop does not tear the move apart.
	move, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := q.Move(move, moves...); err != nil {
		return 0, err
	}
	for _, e := range elements {
		a.pops.Add(e.List, 1)
	}
	a.nudge()
	return len(elements), nil
}

// nudge wakes the workers of this process.
func (a *Alarm) nudge() {
	for _, w := range a.workers {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}
