package model

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestAckLink(t *testing.T) {
	now := time.Unix(1_500_000_000, 0)
	l := AckLink{Endpoint: "h 1", Metric: "df.free", Tags: "mount=/a&b", EventID: "s_1_x", User: "张", Expires: now.Unix() + 60}
	text := l.URL("http://t:6060/", "secret")
	u, err := url.Parse(text)
	if err != nil || u.Host != "t:6060" || u.Path != "/ack" {
		t.Fatalf("%s: %v", text, err)
	}
	if got, ok := ParseAckLink(u.Query(), "secret", now); !ok || got != l {
		t.Errorf("%s is read as %+v, %v", text, got, ok)
	}
	change := func(key, value string) url.Values { q := u.Query(); q.Set(key, value); return q }
	for _, tc := range []struct {
		name   string
		q      url.Values
		secret string
		at     time.Time
	}{
		{"expired", u.Query(), "secret", now.Add(2 * time.Minute)},
		{"another secret", u.Query(), "other", now},
		{"no secret", change("sig", l.Signature("")), "", now},
		{"another host", change("endpoint", "h2"), "secret", now},
		{"another time", change("exp", "99999999999"), "secret", now},
		{"another user", change("user", "x"), "secret", now},
		{"no signature", change("sig", ""), "secret", now},
		{"a cut signature", change("sig", l.Signature("secret")[:32]), "secret", now},
		{"no number", change("exp", "x"), "secret", now},
	} {
		if _, ok := ParseAckLink(tc.q, tc.secret, tc.at); ok {
			t.Errorf("%s is taken", tc.name)
		}
	}
	// Values that move over a line's end have the same text to sign.
	shifted := AckLink{Endpoint: "h", Metric: "a\nb", Tags: "", EventID: "e", User: "u", Expires: now.Unix()}
	q, _ := url.ParseQuery(strings.SplitN(shifted.URL("", "secret"), "?", 2)[1])
	if _, ok := ParseAckLink(q, "secret", now); ok {
		t.Error("a value with a line's end is taken")
	}
}

func FuzzAckLink(f *testing.F) {
	f.Add("endpoint=h&metric=m&exp=9&sig=00")
	f.Add("%zz&;=")
	f.Fuzz(func(t *testing.T, query string) {
		q, _ := url.ParseQuery(query)
		if _, ok := ParseAckLink(q, "a secret that nobody knows", time.Unix(0, 0)); ok {
			t.Errorf("%q is taken", query)
		}
	})
}
