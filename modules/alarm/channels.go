package alarm

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"falcon/common/portal"
	"falcon/modules/alarm/sender"
)

// channelsEvery is how often the table of channels is looked at.
const channelsEvery = 10 * time.Second

// channel is a way to tell people. It does not change.
type channel struct {
	name, typ, config string
	send              sender.Sender
	bad               error // why there is no send
}

// channels are the enabled ones.
type channels struct {
	db  *portal.DB
	api API
	log *slog.Logger
	now atomic.Pointer[[]*channel] // nil until the table was read
}

// all returns the enabled channels, ordered by name.
func (c *channels) all() []*channel {
	if p := c.now.Load(); p != nil {
		return *p
	}
	return nil
}

// reread looks at the table.
func (c *channels) reread(ctx context.Context) error {
	rows, err := c.db.AlarmChannels(ctx)
	if err != nil {
		return fmt.Errorf("read the channels: %w", err)
	}
	old := c.all()
	var next []*channel
	for _, r := range c.withStock(rows) {
		if !r.Enabled {
			continue
		}
		i := slices.IndexFunc(old, func(o *channel) bool { return o.name == r.Name && o.typ == r.Type && o.config == r.Config })
		if i >= 0 {
			next = append(next, old[i])
			continue
		}
		ch := newChannel(r, c.log)
		if ch.bad != nil {
			c.log.Error("nobody can be told through a channel: change its settings", "channel", r.Name, "type", r.Type, "err", ch.bad)
		} else {
			c.log.Info("channel", "name", r.Name, "type", r.Type)
		}
		next = append(next, ch)
	}
	if len(next) == 0 && (c.now.Load() == nil || len(old) > 0) {
		c.log.Warn("no channel is enabled: events are written down and nobody is told; add one on the page")
	}
	c.now.Store(&next)
	return nil
}

// withStock adds the gateways of the configuration to rows; a row of the same name
// takes the place of one.
func (c *channels) withStock(rows []portal.AlarmChannel) []portal.AlarmChannel {
	for _, g := range []struct{ name, typ, url string }{{"im", sender.IM, c.api.IM}, {"sms", sender.SMS, c.api.SMS}, {"mail", sender.FormMail, c.api.Mail}} {
		if g.url == "" || slices.ContainsFunc(rows, func(r portal.AlarmChannel) bool { return r.Name == g.name }) {
			continue
		}
		config, _ := json.Marshal(map[string]string{"url": g.url}) // strings can be marshalled
		rows = append(rows, portal.AlarmChannel{Name: g.name, Type: g.typ, Config: string(config), Enabled: true})
	}
	return rows
}

func newChannel(r portal.AlarmChannel, log *slog.Logger) *channel {
	ch := &channel{name: r.Name, typ: r.Type, config: r.Config}
	ch.send, ch.bad = sender.New(r.Type, r.Config, log)
	return ch
}

// chosen returns the channels of an action: those that it names, or all.
func (c *channels) chosen(action *portal.Action) []*channel {
	all, only := c.all(), names(action.Channels)
	if len(only) == 0 {
		return all
	}
	var some []*channel
	for _, ch := range all {
		if slices.Contains(only, ch.name) {
			some = append(some, ch)
		}
	}
	return some
}

// rereadChannels reads the channels, and shows the counts of each from the first on.
func (a *Alarm) rereadChannels(ctx context.Context) error {
	err := a.channels.reread(ctx)
	for _, ch := range a.channels.all() {
		a.ok.Know(ch.name)
		a.bad.Know(ch.name)
		a.retries.Know(ch.name)
	}
	return err
}
