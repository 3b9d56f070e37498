package model

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// AckRequest asks a judge to tell no more of a problem until it is over (contract alerting
// 1.17). With an empty EventId all problems of the series are meant.
type AckRequest struct {
	EventId  string            `json:"event_id"`
	Endpoint string            `json:"endpoint"`
	Metric   string            `json:"metric"`
	Tags     map[string]string `json:"tags"`
	User     string            `json:"user"`
	At       int64             `json:"at"`             // Unix seconds; 0 for now
	Undo     bool              `json:"undo,omitempty"` // it is told again
}

// FleetKeyHeader carries the fleet key to pages that are for who has it.
const FleetKeyHeader = "X-Falcon-Fleet-Key"

// AckReport tells an alarm of an acknowledgement, by POST /acked, or that it is taken
// back, by DELETE (contract alerting 4.18). With an empty ID all problems of the series
// are meant.
type AckReport struct {
	ID       string            `json:"id"`
	Endpoint string            `json:"endpoint"`
	Metric   string            `json:"metric"`
	Tags     map[string]string `json:"tags"`
	User     string            `json:"user"`
	At       int64             `json:"at"` // Unix seconds; 0 for now
}

// AckReported answers it: how many open cases were meant.
type AckReported struct {
	Matched int `json:"matched"`
}

// AckReply answers it. That nothing matched is no error: the problem may be over.
type AckReply struct {
	Code    int `json:"code"`
	Matched int `json:"matched"` // rules whose problem is acknowledged now, or told again
}

// SampleSecret is the secret of sample files. Whoever has read them can sign with it, so
// neither side takes it for one.
const SampleSecret = "change-me"

// An AckLink is the link in a message by which a person acknowledges a problem. It is
// signed, so that it needs no login.
type AckLink struct {
	Endpoint, Metric string
	Tags             string // sorted: k=v,k=v
	EventID          string
	User             string
	Expires          int64 // Unix seconds
}

// Signature is the HMAC-SHA256 of the link's values, in hex.
func (l AckLink) Signature(secret string) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(strings.Join([]string{l.Endpoint, l.Metric, l.Tags, l.EventID, l.User, strconv.FormatInt(l.Expires, 10)}, "\n")))
	return hex.EncodeToString(m.Sum(nil))
}

// URL writes the link below base, such as http://transfer:6060.
func (l AckLink) URL(base, secret string) string {
	q := url.Values{
		"endpoint": {l.Endpoint}, "metric": {l.Metric}, "tags": {l.Tags}, "event_id": {l.EventID}, "user": {l.User},
		"exp": {strconv.FormatInt(l.Expires, 10)}, "sig": {l.Signature(secret)},
	}
	return strings.TrimSuffix(base, "/") + "/ack?" + q.Encode()
}

// Valid says whether the link can be signed: a line feed in a value would make it another
// link of the same signature.
func (l AckLink) Valid() bool {
	return l.Endpoint != "" && l.Metric != "" && !strings.Contains(l.Endpoint+l.Metric+l.Tags+l.EventID+l.User, "\n")
}

// ParseAckLink reads the values of a link. It says whether they are signed with secret,
// and not expired at now; an empty secret signs nothing.
func ParseAckLink(q url.Values, secret string, now time.Time) (l AckLink, ok bool) {
	exp, err := strconv.ParseInt(q.Get("exp"), 10, 64)
	l = AckLink{q.Get("endpoint"), q.Get("metric"), q.Get("tags"), q.Get("event_id"), q.Get("user"), exp}
	if !l.Valid() {
		return l, false
	}
	sig, herr := hex.DecodeString(q.Get("sig"))
	want, _ := hex.DecodeString(l.Signature(secret))
	ok = err == nil && herr == nil && secret != "" && hmac.Equal(sig, want) && now.Unix() <= exp
	return l, ok
}
