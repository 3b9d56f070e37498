package sender_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"falcon/common/model"
	"falcon/modules/alarm/sender"
	"falcon/modules/alarm/sender/sendertest"
)

var message = sender.Message{
	ID: "notice.7", To: []string{"ann@example.com", "bob@example.com"}, Short: "[P1][PROBLEM][主机][][a\r\nBcc: x@example.com]", Body: "PROBLEM\r\n.\r\nP1\r\n主机\r\n",
	Event: &model.Event{Id: "s_1", Status: "PROBLEM", Endpoint: "h1", Strategy: &model.Strategy{Metric: "m", Priority: 1}},
}

func open(t *testing.T, typ string, config any) sender.Sender {
	t.Helper()
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	s, err := sender.New(typ, string(raw), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMail(t *testing.T) {
	for _, mode := range []string{"none", "starttls", "tls"} {
		t.Run(mode, func(t *testing.T) {
			srv := sendertest.SMTP(t, mode)
			cfg := map[string]any{"server": srv.Addr, "tls": mode, "from": "falcon@example.com", "skip_verify": true}
			if mode != "none" {
				cfg["user"], cfg["password"] = "falcon", "secret"
			}
			s := open(t, "mail", cfg)
			answer, err := s.Send(t.Context(), message)
			if err != nil || !strings.Contains(answer, "queued as 42") {
				t.Fatalf("%q, %v", answer, err)
			}
			got := srv.Mails()
			if len(got) != 1 || got[0].TLS != (mode != "none") || fmt.Sprint(got[0].To) != "[ann@example.com bob@example.com]" || got[0].From != "falcon@example.com" ||
				got[0].Subject != "[P1][PROBLEM][主机][][a  Bcc: x@example.com]" || got[0].Body != message.Body || !strings.HasPrefix(got[0].ID, "<notice.7@") {
				t.Errorf("took %+v", got)
			}
			srv.Refuse(1)
			if _, err := s.Send(t.Context(), message); err == nil || !strings.Contains(err.Error(), "451") {
				t.Errorf("a refused mail: %v", err)
			}
			if _, err := s.Send(t.Context(), sender.Message{To: []string{"nobody@example.com"}, Body: "x"}); err == nil || !strings.Contains(err.Error(), "550") {
				t.Errorf("a mail to nobody: %v", err)
			}
			if mode != "none" { // whose certificate nobody knows
				cfg["skip_verify"] = false
				if _, err := open(t, "mail", cfg).Send(t.Context(), message); err == nil || !strings.Contains(err.Error(), "certificate") {
					t.Errorf("an unknown certificate: %v", err)
				}
				cfg["skip_verify"], cfg["password"] = true, "wrong"
				if _, err := open(t, "mail", cfg).Send(t.Context(), message); err == nil || !strings.Contains(err.Error(), "535") {
					t.Errorf("a wrong password: %v", err)
				}
			}
		})
	}
}

func TestForms(t *testing.T) {
	sink := sendertest.HTTP(t)
	for _, tc := range []struct{ typ, want string }{
		{"sms", "map[content:" + message.Short + " tos:ann@example.com,bob@example.com]"},
		{"im", "map[content:" + message.Short + " tos:ann@example.com,bob@example.com]"},
		{"form_mail", "map[content:" + message.Body + " subject:" + message.Short + " tos:ann@example.com,bob@example.com]"},
	} {
		s := open(t, tc.typ, map[string]any{"url": sink.URL + "/" + tc.typ})
		answer, err := s.Send(t.Context(), message)
		if err != nil || answer != "200 OK ok" {
			t.Errorf("%s: %q, %v", tc.typ, answer, err)
		}
		if got := sink.Posts("/" + tc.typ); len(got) != 1 || fmt.Sprint(got[0].Form) != tc.want {
			t.Errorf("%s: took %+v, want %q", tc.typ, got, tc.want)
		}
		sink.Refuse(1)
		if answer, err := s.Send(t.Context(), message); err == nil || !strings.Contains(answer, "503 Service Unavailable not now") {
			t.Errorf("%s refused: %q, %v", tc.typ, answer, err)
		}
		if _, err := s.Send(t.Context(), sender.Message{}); err == nil {
			t.Errorf("%s without an address is sent", tc.typ)
		}
	}
}

func TestWebhook(t *testing.T) {
	sink := sendertest.HTTP(t)
	s := open(t, "webhook", map[string]any{"url": sink.URL + "/hook", "headers": map[string]string{"x-token": "t"}, "timeout": "2s"})
	for _, m := range []sender.Message{message, {Short: "a test"}} {
		if answer, err := s.Send(t.Context(), m); err != nil || answer != "200 OK ok" {
			t.Fatalf("%q, %v", answer, err)
		}
	}
	got := sink.Posts("/hook")
	var event struct {
		model.Event
		Text string `json:"text"`
	}
	if err := json.Unmarshal([]byte(got[0].Body), &event); err != nil || event.Id != "s_1" || event.Strategy.Priority != 1 || event.Text != message.Short {
		t.Errorf("%s, %v", got[0].Body, err)
	}
	if got[0].Header.Get("X-Token") != "t" || got[1].Body != `{"text":"a test"}` {
		t.Errorf("%+v", got)
	}
}

func TestLog(t *testing.T) {
	var out bytes.Buffer
	s, err := sender.New("log", "", slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Send(t.Context(), message); err != nil || !strings.Contains(out.String(), "event=s_1 status=PROBLEM priority=1 endpoint=h1 metric=m") {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestConfigsSayWhatIsWrong(t *testing.T) {
	for _, tc := range []struct{ typ, config, err string }{
		{"pigeon", "{}", `type "pigeon" is unknown, use one of inbox, mail`},
		{"mail", "{", "config: "},
		{"mail", "{}", `config: server "" is no address`},
		{"mail", `{"server":"h:x","from":"a@b.c"}`, `config: the port of server "h:x" is none from 1 to 65535`},
		{"mail", `{"server":"h:25"}`, "config: from is empty"},
		{"mail", `{"server":"h:25","from":"me"}`, `config: from "me" is no mail address`},
		{"mail", `{"server":"h:25","from":"a@b.c","tls":"ssl"}`, `config: tls is "ssl", write "none", "starttls" or "tls"`},
		{"mail", `{"server":"h:99999","from":"a@b.c"}`, `config: the port of server "h:99999" is none`},
		{"sms", `{"url":"gateway"}`, `config: url "gateway" is none that can be called`},
		{"im", `{"url":"ftp://h/x"}`, `config: url "ftp://h/x" is none that can be called`},
		{"webhook", `{"url":"http://h","timeout":5}`, "config: duration 5 needs a unit"},
		{"webhook", `{"url":"http://h","headers":{"a":"b\nc"}}`, `config: the header "a" can not be sent`},
	} {
		if _, err := sender.New(tc.typ, tc.config, nil); err == nil || !strings.HasPrefix(err.Error(), tc.err) {
			t.Errorf("New(%s, %s)\n got %v\nwant %s", tc.typ, tc.config, err, tc.err)
		}
	}
}
