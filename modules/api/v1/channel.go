package v1

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"falcon/common/portal"
)

// hidden stands for a secret that is stored: it is shown in its place, and keeps it
// when it comes back.
const hidden = "***"

// channelConfig is the configuration of a channel, as JSON has it.
type channelConfig map[string]any

// A channelField is a key of a configuration.
type channelField struct {
	name     string
	kind     any // of its value: "", false or a map
	required bool
	check    func(text string) error
}

// channelTypes says what each type of channel has to know.
var channelTypes = map[string][]channelField{
	"inbox": {},
	"log":   {},
	"mail": {
		{"server", "", true, checkServer}, {"tls", "", false, oneOf("", "none", "starttls", "tls")}, {"user", "", false, nil}, {"password", "", false, nil},
		{"from", "", true, checkMail}, {"skip_verify", false, false, nil},
	},
	"webhook":   {{"url", "", true, checkURL}, {"headers", map[string]any{}, false, nil}, {"timeout", "", false, checkTimeout}},
	"sms":       {{"url", "", true, checkURL}},
	"im":        {{"url", "", true, checkURL}},
	"form_mail": {{"url", "", true, checkURL}},
}

func checkServer(text string) error {
	if _, port, err := net.SplitHostPort(text); err != nil || port == "" {
		return fmt.Errorf("%q is no address, write mail.example.com:587", text)
	}
	return nil
}

func checkMail(text string) error {
	if _, domain, ok := strings.Cut(text, "@"); !ok || domain == "" {
		return fmt.Errorf("%q is no mail address", text)
	}
	return nil
}

func checkURL(text string) error {
	if u, err := url.Parse(text); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%q is no address, write https://example.com/path", text)
	}
	return nil
}

func checkTimeout(text string) error {
	if d, err := time.ParseDuration(text); text != "" && (err != nil || d <= 0 || d > time.Minute) {
		return fmt.Errorf("%q is no time up to a minute, write 5s", text)
	}
	return nil
}

func oneOf(words ...string) func(string) error {
	return func(text string) error {
		if slices.Contains(words, text) {
			return nil
		}
		return fmt.Errorf("%q is unknown, use one of: %s", text, strings.TrimPrefix(strings.Join(words, ", "), ", "))
	}
}

// check says what a channel of a type can not work with.
func (conf channelConfig) check(kind string) (wrong problems) {
	fields, ok := channelTypes[kind]
	if !ok {
		wrong.add("type", "type %q is unknown, use one of: %s", kind, strings.Join(slices.Sorted(maps.Keys(channelTypes)), ", "))
		return wrong
	}
	for _, key := range slices.Sorted(maps.Keys(conf)) {
		if !slices.ContainsFunc(fields, func(f channelField) bool { return f.name == key }) {
			wrong.add("config."+key, "a channel of type %s has no %s", kind, key)
		}
	}
	for _, f := range fields {
		v, there := conf[f.name]
		if text, isText := v.(string); f.required && (!there || isText && strings.TrimSpace(text) == "") {
			wrong.add("config."+f.name, "%s is required", f.name)
			continue
		}
		if !there {
			continue
		}
		if want := kindOf(f.kind); kindOf(v) != want {
			wrong.add("config."+f.name, "%s must be %s", f.name, want)
			continue
		}
		switch v := v.(type) {
		case string:
			if f.check != nil {
				if err := f.check(v); err != nil {
					wrong.add("config."+f.name, "%s %v", f.name, err)
				}
			}
		case map[string]any:
			for name, value := range v {
				if text, ok := value.(string); !ok || name == "" || strings.ContainsAny(name+text, "\r\n") {
					wrong.add("config."+f.name, "the header %q can not be sent", name)
				}
			}
		}
	}
	return wrong
}

// kindOf names the kind of a JSON value.
func kindOf(v any) string {
	switch v.(type) {
	case string:
		return "a text"
	case bool:
		return "true or false"
	case map[string]any:
		return "an object"
	}
	return "something else"
}

// hide returns the configuration with hidden for its secrets.
func (conf channelConfig) hide() channelConfig {
	out := maps.Clone(conf)
	if text, ok := out["password"].(string); ok && text != "" {
		out["password"] = hidden
	}
	if headers, ok := out["headers"].(map[string]any); ok {
		shown := map[string]any{}
		for name := range headers {
			shown[name] = hidden
		}
		out["headers"] = shown
	}
	return out
}

// reveal puts the secrets of old where hidden stands for them. They do not go to
// another server than the one they were entered for.
func (conf channelConfig) reveal(old channelConfig) error {
	secret := func(field string, v any, stored any) (any, error) {
		if v != hidden {
			return v, nil
		}
		if text, ok := stored.(string); !ok || text == "" {
			return nil, badField("config."+field, "%s stands for a secret that is stored, and none is: write it", hidden)
		}
		if conf["server"] != old["server"] || hostOf(conf["url"]) != hostOf(old["url"]) {
			return nil, badField("config."+field, "the stored secret is for another server: write it again")
		}
		return stored, nil
	}
	var err error
	if v, ok := conf["password"]; ok {
		if conf["password"], err = secret("password", v, old["password"]); err != nil {
			return err
		}
	}
	headers, _ := conf["headers"].(map[string]any)
	stored, _ := old["headers"].(map[string]any)
	for name, v := range headers {
		if headers[name], err = secret("headers", v, stored[name]); err != nil {
			return err
		}
	}
	return nil
}

func hostOf(v any) string {
	text, _ := v.(string)
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	return u.Scheme + "://" + u.Host
}

// channelRow is a channel as people see it.
type channelRow struct {
	ID      int64         `json:"id"`
	Name    string        `json:"name"`
	Type    string        `json:"type"`
	Config  channelConfig `json:"config"`
	Enabled bool          `json:"enabled"`
	Creator string        `json:"creator"`
}

func configOf(row *portal.AlarmChannel) channelConfig {
	conf := channelConfig{}
	_ = json.Unmarshal([]byte(row.Config), &conf) // what is broken is shown as empty, to be written anew
	if conf == nil {
		conf = channelConfig{}
	}
	return conf
}

// channels lists the ways to tell people. Only admins see their settings.
func (s *server) channels(c *Call) (any, error) {
	all, err := s.Portal.AlarmChannels(c.Ctx())
	if err != nil {
		return nil, err
	}
	rows := make([]channelRow, len(all))
	for i := range all {
		ch := &all[i]
		rows[i] = channelRow{ch.ID, ch.Name, ch.Type, channelConfig{}, ch.Enabled, ch.Creator}
		if s.isAdmin(&c.Caller) {
			rows[i].Config = configOf(ch).hide()
		}
	}
	return rows, nil
}

type channelInput struct {
	ID       int64         `json:"id"` // to test a change of one that is stored
	Name     string        `json:"name"`
	Type     string        `json:"type"`
	Config   channelConfig `json:"config"`
	Enabled  *bool         `json:"enabled"`
	Receiver string        `json:"receiver"`
}

// row checks a channel and returns it as it is stored; old is the one before.
func (in *channelInput) row(old *portal.AlarmChannel) (portal.AlarmChannel, error) {
	row := portal.AlarmChannel{Name: strings.TrimSpace(in.Name), Type: in.Type, Enabled: true}
	if in.Config == nil {
		in.Config = channelConfig{}
	}
	before := channelConfig{}
	if old != nil {
		row.ID, row.Enabled = old.ID, old.Enabled
		before = configOf(old)
	}
	if in.Enabled != nil {
		row.Enabled = *in.Enabled
	}
	// Actions hold names of channels with commas between them.
	if row.Name == "" || strings.Contains(row.Name, ",") {
		return row, badField("name", "name %q: a channel needs a name, without commas", row.Name)
	}
	if err := in.Config.check(in.Type).err(); err != nil {
		return row, err
	}
	if err := in.Config.reveal(before); err != nil {
		return row, err
	}
	text, err := json.Marshal(in.Config)
	row.Config = string(text)
	return row, err
}

// channelOf returns a channel that is stored.
func (s *server) channelOf(c *Call, id int64) (*portal.AlarmChannel, error) {
	all, err := s.Portal.AlarmChannels(c.Ctx())
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(ch portal.AlarmChannel) bool { return ch.ID == id })
	if i < 0 {
		return nil, portal.ErrNotFound
	}
	return &all[i], nil
}

func shown(row *portal.AlarmChannel) channelRow {
	return channelRow{row.ID, row.Name, row.Type, configOf(row).hide(), row.Enabled, row.Creator}
}

func (s *server) createChannel(c *Call) (any, error) {
	var in channelInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	row, err := in.row(nil)
	if err != nil {
		return nil, err
	}
	row.Creator, row.Created = c.Caller.Name, s.Now()
	if row.ID, err = s.Portal.CreateAlarmChannel(c.Ctx(), row); err != nil {
		return nil, err
	}
	c.Audit(row.ID, shown(&row))
	s.rereadChannels(c)
	return shown(&row), nil
}

// rereadChannels lets alarm know of a change now; it looks by itself every ten
// seconds, so nothing depends on it.
func (s *server) rereadChannels(c *Call) {
	if s.Alarm == nil {
		return
	}
	ctx, cancel := context.WithTimeout(c.Ctx(), time.Second)
	defer cancel()
	if _, err := s.Alarm.Post(ctx, "/channel/reload", []byte("{}")); err != nil {
		s.Log.Info("alarm is not told of a change of the channels, it sees it by itself", "err", err)
	}
}

func (s *server) updateChannel(c *Call) (any, error) {
	id, err := c.id("id", "a channel")
	if err != nil {
		return nil, err
	}
	var in channelInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	old, err := s.channelOf(c, id)
	if err != nil {
		return nil, err
	}
	row, err := in.row(old)
	if err != nil {
		return nil, err
	}
	row.Creator = old.Creator
	if row.Name != old.Name {
		if err := s.Portal.CanRenameInActions(c.Ctx(), portal.ActionChannels, old.Name, row.Name); err != nil {
			return nil, err
		}
	}
	c.Before(shown(old))
	c.Audit(id, shown(&row))
	if err := s.Portal.UpdateAlarmChannel(c.Ctx(), row); err != nil {
		return nil, err
	}
	if row.Name != old.Name {
		if err := s.renameInActions(c, portal.ActionChannels, old.Name, row.Name); err != nil {
			return nil, err
		}
	}
	s.rereadChannels(c)
	return shown(&row), nil
}

func (s *server) deleteChannel(c *Call) (any, error) {
	id, err := c.id("id", "a channel")
	if err != nil {
		return nil, err
	}
	old, err := s.channelOf(c, id)
	if err != nil {
		return nil, err
	}
	n, err := s.Portal.ActionsThatName(c.Ctx(), portal.ActionChannels, old.Name)
	if err != nil {
		return nil, err
	}
	if n > 0 {
		return nil, bad("%d actions tell people through %s: choose other channels there first, or disable this one", n, old.Name)
	}
	c.Before(shown(old))
	c.Audit(id, nil)
	if err := s.Portal.DeleteAlarmChannel(c.Ctx(), id); err != nil {
		return nil, err
	}
	s.rereadChannels(c)
	return fmt.Sprintf("channel %s is deleted", old.Name), nil
}

// testChannel sends a message through a channel that is stored.
func (s *server) testChannel(c *Call) (any, error) {
	id, err := c.id("id", "a channel")
	if err != nil {
		return nil, err
	}
	var in channelInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	row, err := s.channelOf(c, id)
	if err != nil {
		return nil, err
	}
	c.Audit(id, nil)
	return s.try(c, row, in.Receiver)
}

// testNewChannel sends a message through a channel that is not stored yet, or through
// what a stored one is about to become.
func (s *server) testNewChannel(c *Call) (any, error) {
	var in channelInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	var old *portal.AlarmChannel
	if in.ID != 0 {
		var err error
		if old, err = s.channelOf(c, in.ID); err != nil {
			return nil, err
		}
	}
	if strings.TrimSpace(in.Name) == "" {
		in.Name = in.Type // it may get its name later
	}
	row, err := in.row(old)
	if err != nil {
		return nil, err
	}
	c.Audit(row.Name, map[string]any{"type": row.Type, "config": in.Config.hide()})
	return s.try(c, &row, in.Receiver)
}

// try asks alarm to send a message; alarm knows how.
func (s *server) try(c *Call, row *portal.AlarmChannel, receiver string) (any, error) {
	if s.Alarm == nil {
		return nil, &Error{Status: http.StatusBadGateway, Text: "no alarm is configured that could send a message: set alarm.addr"}
	}
	if receiver == "" && c.Caller.User != nil {
		receiver = c.Caller.User.Name
	}
	body, err := json.Marshal(map[string]any{"name": row.Name, "type": row.Type, "config": json.RawMessage(row.Config), "receiver": receiver})
	if err != nil {
		return nil, err
	}
	b, err := s.Alarm.Post(c.Ctx(), "/channel/test", body)
	return s.relayed(c, "alarm", b, err)
}
