package sender

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"falcon/common/conf"
	"falcon/common/model"
)

// Types of channels.
const (
	Inbox    = "inbox"     // rows, and the bell on the page: sent by whoever writes the rows
	Log      = "log"       // a line in alarm's log
	Mail     = "mail"      // SMTP
	Webhook  = "webhook"   // the event's JSON, with its text, is POSTed
	SMS      = "sms"       // stock's form POST with phone numbers
	IM       = "im"        // stock's form POST with names of a chat
	FormMail = "form_mail" // stock's form POST with mail addresses
)

// Types returns all types, in the order in which people are to choose.
func Types() []string { return []string{Inbox, Mail, Webhook, IM, SMS, FormMail, Log} }

// Message is one message.
type Message struct {
	// ID names the message; a try of the same message has the same.
	ID string
	// To are the addresses; who tells no people has none.
	To []string
	// Short is the text of SMS and IM and the subject of a mail.
	Short string
	// Body is the text of a mail.
	Body string
	// Ack is the link by which a problem is acknowledged, empty for none: what is for
	// people has it behind the text, and a webhook in ack_url, too.
	Ack string
	// Event is what it is about; nil for a test.
	Event *model.Event
}

// Line returns the short text with the link behind it.
func (m *Message) Line() string {
	if m.Ack == "" {
		return m.Short
	}
	return m.Short + " " + m.Ack
}

// Text returns the long text with the link behind it.
func (m *Message) Text() string {
	if m.Ack == "" {
		return m.Body
	}
	return m.Body + "Acknowledge: " + m.Ack + "\r\n"
}

// A Sender tells through one channel. It is safe for concurrent use.
type Sender interface {
	// Send tries once. The answer is what the provider said, also beside an error.
	Send(ctx context.Context, m Message) (answer string, err error)
}

// MayHaveCome says of the error of a Send whether the message may have come through all the
// same: no answer came.
func MayHaveCome(err error) bool {
	_, ok := errors.AsType[mayHaveCome](err)
	return ok
}

type mayHaveCome struct{ error }

func (e mayHaveCome) Unwrap() error { return e.error }

// New returns the sender of a channel: config is the JSON of its type, log is for the
// type log. An error says what is wrong with config.
func New(typ, config string, log *slog.Logger) (Sender, error) {
	switch typ {
	case Inbox:
		return inbox{}, nil
	case Log:
		return logger{log}, nil
	case Mail:
		return newMail(config)
	case Webhook:
		return newWebhook(config)
	case SMS, IM, FormMail:
		return newForm(typ, config)
	}
	return nil, fmt.Errorf("type %q is unknown, use one of %s", typ, strings.Join(Types(), ", "))
}

// ToPeople says whether a channel of this type has a message for each person; the
// others have one for all.
func ToPeople(typ string) bool { return typ != Log && typ != Webhook }

// Together says whether one message of the type goes to all people at once.
func Together(typ string) bool { return slices.Contains([]string{SMS, IM, FormMail}, typ) }

// Person is somebody to be told.
type Person struct {
	Name  string `json:"name"`
	Email string `json:"email"`
	Phone string `json:"phone"`
	IM    string `json:"im"`
}

// Address returns where a person is told through a channel of this type; empty when
// that can not be.
func (p *Person) Address(typ string) string {
	switch typ {
	case Inbox:
		return p.Name
	case Mail, FormMail:
		return strings.TrimSpace(p.Email)
	case SMS:
		return strings.TrimSpace(p.Phone)
	case IM:
		return strings.TrimSpace(p.IM)
	}
	return ""
}

type inbox struct{}

func (inbox) Send(context.Context, Message) (string, error) { return "", nil }

type logger struct{ log *slog.Logger }

func (l logger) Send(_ context.Context, m Message) (string, error) {
	if m.Event == nil {
		l.log.Info("alarm", "text", m.Short)
		return "logged", nil
	}
	args := []any{"event", m.Event.Id, "status", m.Event.Status, "priority", m.Event.Priority(), "endpoint", m.Event.Endpoint,
		"metric", m.Event.Metric(), "step", m.Event.CurrentStep, "text", m.Short}
	if m.Ack != "" {
		args = append(args, "ack", m.Ack)
	}
	l.log.Info("alarm", args...)
	return "logged", nil
}

// decode reads the configuration of a channel.
func decode(config string, into any) error {
	if strings.TrimSpace(config) == "" {
		config = "{}"
	}
	d := json.NewDecoder(bytes.NewReader([]byte(config)))
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	return nil
}

// limit bounds what is kept of an answer, in bytes.
const limit = 400

func clipped(s string) string {
	s = strings.ToValidUTF8(strings.TrimSpace(s), "")
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}

// oneLine makes a text fit into a header.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}

var errNobody = errors.New("the message has no address")

// timeout is a duration of a channel's configuration.
type timeout = conf.Duration
