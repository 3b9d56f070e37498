package alarm

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"time"

	"falcon/common/conf"
	"falcon/common/daemon"
	"falcon/common/model"
	"falcon/common/portal"
	"falcon/common/redisx"
)

// Config is the configuration of an alarm (contract alerting 4.1). Keys of stock keep
// their names.
type Config struct {
	daemon.Base
	// LogLevel is stock's key: debug, info or warn.
	LogLevel string          `json:"log_level"`
	HTTP     daemon.Listener `json:"http"`
	Redis    Redis           `json:"redis"`
	API      API             `json:"api"`
	// Alarms is the database alarms; its name is stock's.
	Alarms Alarms `json:"falcon_portal"`
	// DB is where the other databases are.
	DB DB `json:"db"`
	// People says who knows actions and people: "portal", the databases, or "api",
	// the daemon at api.plus_api. Empty is the portal where its databases are named, or
	// files, else the api.
	People string `json:"people"`
	// Worker says how many messages are on their way at once, by the type of channel.
	Worker      Worker      `json:"worker"`
	Housekeeper Housekeeper `json:"housekeeper"`
	// StockHousekeeper is the same section as some files of stock write it.
	StockHousekeeper *Housekeeper `json:"Housekeeper,omitempty"`
	Retention        Retention    `json:"retention"`
	// Ack is the links by which people acknowledge.
	Ack Ack `json:"ack"`
	// FleetKey is a secret that the daemons of a fleet share: with it transfers and judges
	// are spoken to, and transfers report acknowledgements.
	FleetKey conf.Secret `json:"fleet_key"`
	// Adopt is through whom judges are told what other judges knew.
	Adopt Adopt `json:"adopt"`
	// DeadMan is who outside of the fleet is told that all is well.
	DeadMan DeadMan `json:"deadman"`
	// Timezone is that of the times in messages, such as Asia/Shanghai; empty for the
	// host's.
	Timezone string `json:"timezone"`
}

// Redis is where the events are.
type Redis struct {
	redisx.Config
	// HighQueues and LowQueues are the lists of events, the most urgent first. Those of
	// event:p0 to event:p9 that neither names are read as well.
	HighQueues []string `json:"highQueues"`
	LowQueues  []string `json:"lowQueues"`
}

// API is who is asked and who tells.
type API struct {
	// SMS, IM and Mail are stock's gateways. Each that is set is a channel of that name.
	SMS  string `json:"sms"`
	IM   string `json:"im"`
	Mail string `json:"mail"`
	// Dashboard begins the links in mails.
	Dashboard string `json:"dashboard"`
	// PlusAPI is the api, and PlusAPIToken its default token.
	PlusAPI      string      `json:"plus_api"`
	PlusAPIToken conf.Secret `json:"plus_api_token"`
}

// Alarms is a MySQL database.
type Alarms struct {
	Addr conf.DSN `json:"addr"` // empty: the SQLite file in DB.Dir
	Idle int      `json:"idle"`
	Max  int      `json:"max"`
}

// DB is where databases are.
type DB struct {
	// Dir is the folder of the SQLite files, for a configuration without DSNs.
	Dir string `json:"dir"`
	// Portal and UIC are DSNs of falcon_portal and uic, who know actions and people.
	Portal conf.DSN `json:"falcon_portal"`
	UIC    conf.DSN `json:"uic"`
	// Patience is how long the database alarms may be away before people are told all the
	// same, and the rows are written when it is back. 0: events wait as long as it is away.
	Patience conf.Duration `json:"patience"`
}

// Worker are numbers of messages; 0 is the default.
type Worker struct {
	IM      int `json:"im"`
	SMS     int `json:"sms"`
	Mail    int `json:"mail"`
	Webhook int `json:"webhook"`
	// Callback is how many callbacks of actions are called at once.
	Callback int `json:"callback"`
}

// Housekeeper says how long rows of events are kept.
type Housekeeper struct {
	Days  int `json:"event_retention_days"`
	Batch int `json:"event_delete_batch"`
}

// Ack is the links in messages by which people acknowledge a problem (contract alerting
// 4.11). Without Base and Secret there are none.
type Ack struct {
	// Base is where people reach transfer's /ack: http://transfer:6060, or the server
	// before it.
	Base string `json:"base"`
	// Secret signs the links: transfer has the same.
	Secret conf.Secret `json:"secret"`
	// Expire is for how long a link is good, in seconds.
	Expire int64 `json:"expire_sec"`
}

// DeadMan is a sign of life to somebody outside of the fleet who shouts when it stays
// away, such as healthchecks. It is given only while the whole road is good.
type DeadMan struct {
	// URL is called; empty calls nobody. It is hidden, since whoever knows it may call, too.
	URL conf.Secret `json:"url"`
	// Method is GET or POST.
	Method string `json:"method"`
	// Interval lies between two calls.
	Interval conf.Duration `json:"interval"`
	// Timeout bounds one call. There is no second try before the next turn, a redirect is
	// not followed, and no proxy is asked.
	Timeout conf.Duration `json:"timeout"`
}

func (d *DeadMan) on() bool { return d.URL != "" }

func (d *DeadMan) method() string { return cmp.Or(d.Method, http.MethodGet) }

// late is how long a probe may be away: one that is lost is no alarm, and two may just be
// on their way.
func (c *Config) late() time.Duration { return 3 * c.Self.Interval.D() }

func (c *Config) checkDeadMan(wrong func(string, ...any)) {
	d := &c.DeadMan
	if !d.on() {
		return
	}
	if p, err := url.Parse(d.URL.Reveal()); err != nil || p.Host == "" || p.Scheme != "http" && p.Scheme != "https" {
		wrong("deadman.url: it is none that can be called, write https://host/path")
	}
	if m := d.method(); m != http.MethodGet && m != http.MethodPost {
		wrong(`deadman.method: %q is unknown, use "GET" or "POST"`, d.Method)
	}
	if d.Interval.D() < time.Second || d.Timeout.D() < 100*time.Millisecond || d.Timeout.D() > d.Interval.D() {
		wrong(`deadman.interval, deadman.timeout: write at least "1s" and "100ms", and no timeout above the interval`)
	}
	if !c.Self.Enabled {
		wrong("deadman.url: the probe goes with the counters, and self.enabled is false")
	}
}

// Adopt is the way to judges: through transfers, who know which judge has which series.
type Adopt struct {
	// Transfers are addresses of their RPC, host:8433. List all: each decides alone who
	// stands in for a judge that is away. Without any, judges are told nothing.
	Transfers []string `json:"transfers"`
	// TLS makes the calls speak TLS.
	TLS daemon.ClientTLS `json:"tls"`
}

// on says whether messages have links.
func (a *Ack) on() bool {
	return a.Base != "" && a.Secret != "" && a.Secret.Reveal() != model.SampleSecret
}

// Retention says how long other rows are kept, in days.
type Retention struct {
	Case   int `json:"case_days"`   // of cases that are OK, since their last event
	Notice int `json:"notice_days"` // of messages
}

// DefaultConfig returns the configuration of an alarm whose file is empty.
func DefaultConfig() Config {
	return Config{
		Base: daemon.DefaultBase(), LogLevel: "info", HTTP: daemon.Listener{Enabled: true, Listen: "0.0.0.0:9912"},
		Redis: Redis{
			Config:     redisx.DefaultConfig(),
			HighQueues: []string{"event:p9", "event:p0", "event:p1", "event:p2"},
			LowQueues:  []string{"event:p3", "event:p4", "event:p5", "event:p6", "event:p7", "event:p8"},
		},
		API:         API{Dashboard: "http://127.0.0.1:8081", PlusAPI: "http://127.0.0.1:8080"},
		Alarms:      Alarms{Idle: 10, Max: 100},
		DB:          DB{Dir: "./data/portal", Patience: conf.Duration(10 * time.Second)},
		Worker:      Worker{IM: 10, SMS: 10, Mail: 50, Webhook: 10, Callback: 16},
		Housekeeper: Housekeeper{Days: 7, Batch: 1000},
		Retention:   Retention{Case: 90, Notice: 90},
		Ack:         Ack{Expire: 7 * 24 * 3600}, Adopt: Adopt{Transfers: []string{}},
		DeadMan: DeadMan{Method: http.MethodGet, Interval: conf.Duration(time.Minute), Timeout: conf.Duration(5 * time.Second)},
	}
}

// Common returns the part that all daemons have; stock's log_level counts in it.
func (c *Config) Common() *daemon.Base {
	if c.LogLevel == "debug" {
		c.Debug = true
	}
	return &c.Base
}

// Who knows people.
const (
	fromPortal = "portal"
	fromAPI    = "api"
)

// people says who knows actions and people.
func (c *Config) people() string {
	switch {
	case c.People != "":
		return c.People
	case c.Alarms.Addr == "" || c.DB.Portal != "":
		return fromPortal
	}
	return fromAPI
}

// Portal returns what the databases are opened with.
func (c *Config) Portal() portal.Config {
	p := portal.Config{AlarmsDSN: c.Alarms.Addr.Reveal(), MaxConns: c.Alarms.Max, MaxIdle: c.Alarms.Idle, Only: []string{portal.Alarms}}
	if c.Alarms.Addr == "" {
		p.Dir = c.DB.Dir
	}
	if c.people() == fromPortal {
		p.PortalDSN, p.UICDSN, p.Only = c.DB.Portal.Reveal(), c.DB.UIC.Reveal(), append(p.Only, portal.Portal, portal.UIC)
	}
	return p
}

// Validate reports every setting that can not work.
func (c *Config) Validate() error {
	errs := []error{c.Base.Validate(), c.HTTP.Validate("http")}
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !slices.Contains([]string{"debug", "info", "warn"}, c.LogLevel) {
		wrong(`log_level: %q is unknown, use "debug", "info" or "warn"`, c.LogLevel)
	}
	if err := c.Redis.Validate(); err != nil {
		wrong("redis.%w", err)
	}
	seen := map[string]bool{}
	for _, l := range c.lists() {
		if l == "" || seen[l] {
			wrong("redis.highQueues, redis.lowQueues: the list %q is there twice, or has no name", l)
		}
		seen[l] = true
	}
	for key, u := range map[string]string{"api.sms": c.API.SMS, "api.im": c.API.IM, "api.mail": c.API.Mail, "api.plus_api": c.API.PlusAPI, "ack.base": c.Ack.Base} {
		if u == "" {
			continue
		}
		if p, err := url.Parse(u); err != nil || p.Host == "" || p.Scheme != "http" && p.Scheme != "https" {
			wrong("%s: %q is none that can be called, write http://host:port/path", key, u)
		}
	}
	if c.DB.Patience < 0 {
		wrong("db.patience: %v is negative", c.DB.Patience.D())
	}
	switch c.people() {
	case fromPortal:
		if (c.Alarms.Addr == "") != (c.DB.Portal == "") || (c.DB.Portal == "") != (c.DB.UIC == "") {
			// Falling back to a file would hide half of the data.
			wrong("db.falcon_portal, db.uic, falcon_portal.addr: people come from the portal, so give the DSNs of all three, or of none")
		}
	case fromAPI:
		if c.API.PlusAPI == "" {
			wrong("api.plus_api: people come from there, write http://host:8080")
		}
		if c.DB.Portal != "" || c.DB.UIC != "" {
			wrong(`db.falcon_portal, db.uic: people come from the api; leave them out, or set people to "portal"`)
		}
	default:
		wrong(`people: %q is unknown, use "portal" or "api", or leave it out`, c.People)
	}
	if c.Alarms.Addr == "" && c.DB.Dir == "" {
		wrong("falcon_portal.addr: give a DSN (MySQL) or db.dir (SQLite)")
	}
	if c.Alarms.Idle < 0 || c.Alarms.Max < 0 {
		wrong("falcon_portal: idle and max can not be negative, 0 means the default")
	}
	if w := c.Worker; min(w.IM, w.SMS, w.Mail, w.Webhook, w.Callback) < 0 || max(w.IM, w.SMS, w.Mail, w.Webhook, w.Callback) > 1000 {
		wrong("worker: use numbers up to 1000, 0 means the default")
	}
	if h := c.housekeeper(); h.Days < 1 || h.Batch < 1 || c.Retention.Case < 1 || c.Retention.Notice < 1 {
		wrong("housekeeper, retention: numbers of days, and event_delete_batch, must be above 0")
	}
	c.checkDeadMan(wrong)
	for _, addr := range c.Adopt.Transfers {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			wrong("adopt.transfers: %q is no address, write host:8433", addr)
		}
	}
	if c.Ack.Expire < 60 {
		wrong("ack.expire_sec: links that are good for %d seconds help nobody, use at least 60", c.Ack.Expire)
	}
	if c.Ack.Base != "" && c.Ack.Secret == "" {
		wrong("ack.secret: links need the secret that transfer has as ack.secret; leave ack.base out for messages without links")
	}
	if _, err := c.location(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// housekeeper returns the section, however it is written.
func (c *Config) housekeeper() Housekeeper {
	if s := c.StockHousekeeper; s != nil {
		d := DefaultConfig().Housekeeper
		return Housekeeper{cmp.Or(s.Days, d.Days), cmp.Or(s.Batch, d.Batch)}
	}
	return c.Housekeeper
}

func (c *Config) location() (*time.Location, error) {
	if c.Timezone == "" {
		return time.Local, nil
	}
	loc, err := time.LoadLocation(c.Timezone)
	if err != nil {
		return nil, fmt.Errorf("timezone: %q is unknown here, write a name such as Asia/Shanghai", c.Timezone)
	}
	return loc, nil
}

// lists returns the configured lists in their order.
func (c *Config) lists() []string { return slices.Concat(c.Redis.HighQueues, c.Redis.LowQueues) }

var numbered = regexp.MustCompile(`^event:p([0-9])$`)

// queues returns all lists of events, the most urgent first, those that nobody named,
// and the order in which priorities are worked. An event of a priority that is in no
// list would wait in Redis for ever: 9 is read first, the others last.
func (c *Config) queues() (lists, unnamed []string, priorities []int) {
	lists = c.lists()
	for p := range 10 {
		if l := redisx.Event(p); !slices.Contains(lists, l) {
			unnamed = append(unnamed, l)
			if p == 9 {
				lists = slices.Insert(lists, 0, l)
			} else {
				lists = append(lists, l)
			}
		}
	}
	for _, l := range lists {
		if m := numbered.FindStringSubmatch(l); m != nil {
			p, _ := strconv.Atoi(m[1]) // one digit
			priorities = append(priorities, p)
		}
	}
	return lists, unnamed, priorities
}

// Retired lists keys of stock and fork that we do not need.
func (c *Config) Retired() map[string]string {
	direct := "messages go to the providers without another list in Redis"
	merged := "every message is sent by itself, none waits to be merged with others"
	return map[string]string{
		"redis.userIMQueue": merged, "redis.userSmsQueue": merged, "redis.userMailQueue": merged, "redis.userPhoneQueue": merged,
		"redis.imQueue": direct, "redis.smsQueue": direct, "redis.mailQueue": direct,
		"api.main_api":                     "actions and people come from one place, see people",
		"api.phone":                        "this release makes no phone calls; a webhook channel can start one",
		"api.lark_tenant_access_token_url": "this release has no robots; a webhook or im channel can reach one",
		"lark_bot_tokens":                  "this release has no robots; a webhook or im channel can reach one",
		"alarm_retry_times":                "each message is tried three times",
		"alarm_api":                        "messages have no buttons in this release",
		"worker.phone":                     "this release makes no phone calls; a webhook channel can start one",
		"debug_host":                       "log_level debug logs every event",
	}
}
