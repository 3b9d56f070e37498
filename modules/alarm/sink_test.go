package alarm

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"falcon/common/model"
	"falcon/modules/alarm/sender"
)

// captured is what a stock alarm sent to a provider, and what that answered.
type captured struct {
	name     string
	req      *http.Request
	body     []byte
	response []byte
}

func capturedPosts(t *testing.T, pattern string) (all []captured) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "alarm-sink", pattern+".c2s.bin"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no captures %s: %v", pattern, err)
	}
	for _, file := range files {
		c := captured{name: strings.TrimSuffix(filepath.Base(file), ".c2s.bin")}
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if c.req, err = http.ReadRequest(bufio.NewReader(bytes.NewReader(raw))); err != nil {
			t.Fatal(err)
		}
		if c.body, err = io.ReadAll(c.req.Body); err != nil {
			t.Fatal(err)
		}
		if c.response, err = os.ReadFile(strings.Replace(file, ".c2s.", ".s2c.", 1)); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

// provider answers with what the captured one did and hands on what it got.
func provider(t *testing.T, c captured) (base string, got <-chan captured) {
	t.Helper()
	out := make(chan captured, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what is missing shows
		out <- captured{req: r, body: body}
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(c.response)), r)
		if err != nil {
			t.Error(err)
			return
		}
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, out
}

// Stock's providers of sms, chats and mails get the requests that stock made: path,
// type, and fields; and their answers are understood.
func TestStockProviders(t *testing.T) {
	for pattern, typ := range map[string]string{"sms_*": sender.SMS, "wechat_*": sender.IM, "mail_*": sender.FormMail} {
		for _, c := range capturedPosts(t, pattern) {
			t.Run(c.name, func(t *testing.T) {
				want, err := url.ParseQuery(string(c.body))
				if err != nil {
					t.Fatal(err)
				}
				base, got := provider(t, c)
				s, err := sender.New(typ, `{"url":"`+base+c.req.URL.Path+`"}`, nil)
				if err != nil {
					t.Fatal(err)
				}
				m := sender.Message{To: strings.Split(want.Get("tos"), ","), Short: want.Get("content"), Body: want.Get("content")}
				if typ == sender.FormMail {
					m.Short = want.Get("subject")
				}
				if answer, err := s.Send(t.Context(), m); err != nil || !strings.Contains(answer, "ok") {
					t.Errorf("answer %q, %v", answer, err)
				}
				sent := <-got
				form, err := url.ParseQuery(string(sent.body))
				if err != nil {
					t.Fatal(err)
				}
				if sent.req.Method != c.req.Method || sent.req.URL.Path != c.req.URL.Path || !reflect.DeepEqual(form, want) ||
					sent.req.Header.Get("Content-Type") != c.req.Header.Get("Content-Type") {
					t.Errorf("%s %s %s %v\nstock %s %s %s %v", sent.req.Method, sent.req.URL, sent.req.Header.Get("Content-Type"), form,
						c.req.Method, c.req.URL, c.req.Header.Get("Content-Type"), want)
				}
			})
		}
	}
}

// Callbacks are stock's: the order of parameters and of tags is not fixed there, ours
// are sorted.
func TestStockCallbacks(t *testing.T) {
	for _, c := range capturedPosts(t, "callback_*") {
		t.Run(c.name, func(t *testing.T) {
			want := c.req.URL.Query()
			number := func(key string) int {
				n, err := strconv.Atoi(want.Get(key))
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
			at, err := time.Parse(time.DateTime, want.Get("time"))
			if err != nil {
				t.Fatal(err)
			}
			left, err := strconv.ParseFloat(want.Get("left_value"), 64)
			if err != nil {
				t.Fatal(err)
			}
			tags := map[string]string{}
			for pair := range strings.SplitSeq(want.Get("tags"), ",") {
				if k, v, ok := strings.Cut(pair, ":"); ok {
					tags[k] = v
				}
			}
			e := &model.Event{Status: want.Get("status"), Endpoint: want.Get("endpoint"), LeftValue: left, CurrentStep: number("step"), EventTime: at.Unix(), PushedTags: tags}
			if id := number("exp_id"); id != 0 {
				e.Expression = &model.Expression{Id: id, Metric: want.Get("metric"), Priority: number("priority")}
			} else {
				e.Strategy = &model.Strategy{Id: number("stra_id"), Metric: want.Get("metric"), Priority: number("priority"), Tpl: &model.Template{Id: number("tpl_id")}}
			}
			address := c.req.URL.Path // with what its action had behind a question mark
			own := url.Values{}
			for k, v := range want {
				if !slices.Contains([]string{"endpoint", "metric", "status", "step", "priority", "time", "tpl_id", "exp_id", "stra_id", "left_value", "tags"}, k) {
					own[k] = v
				}
			}
			if len(own) > 0 {
				address += "?" + own.Encode()
			}
			got, err := url.Parse(callbackURL(address, e, time.UTC))
			if err != nil {
				t.Fatal(err)
			}
			query := got.Query()
			for _, q := range []url.Values{query, want} {
				pairs := strings.Split(q.Get("tags"), ",")
				slices.Sort(pairs)
				q.Set("tags", strings.Join(pairs, ","))
			}
			if got.Path != c.req.URL.Path || !reflect.DeepEqual(query, want) {
				t.Errorf("%s\nstock %s", got, c.req.URL)
			}
		})
	}
}
