package alarm

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"falcon/common/portal"
)

// stockAPI answers as stock's api does.
type stockAPI struct {
	mu    sync.Mutex
	asked []string
	away  bool
}

func (s *stockAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.URL.EscapedPath()+" "+r.Header.Get("Apitoken"))
	answer := map[string]string{
		"/api/v1/action/1":                 `{"id":1,"uic":"ops,no/team","url":"http://cb","callback":1,"before_callback_sms":1,"before_callback_mail":0,"after_callback_sms":0,"after_callback_mail":0}`,
		"/api/v1/action/3":                 `{"message":"hello"}`,
		"/api/v1/team/name/ops":            `{"id":2,"name":"ops","resume":"","creator":1,"users":[{"id":5,"name":"ann","cnname":"","email":"a@x","phone":"1","im":"i","qq":"","role":0},{"id":5,"name":"ann","email":"a@x"}],"creator_name":"root"}`,
		"/api/v1/user/name/ann%20b":        `{"id":5,"name":"ann b","email":"a@x"}`,
		"/api/v1/team/name/wrong%3Fs=1%23": `{"id":7,"users":[]}`,
	}[r.URL.EscapedPath()]
	switch {
	case s.away:
		http.Error(w, `{"error":"database is closed"}`, http.StatusBadRequest)
	case answer == "":
		http.Error(w, `{"error":"record not found"}`, http.StatusBadRequest)
	default:
		_, _ = w.Write([]byte(answer))
	}
}

func TestPeopleOfStockAPI(t *testing.T) {
	s := &stockAPI{}
	srv := httptest.NewServer(s)
	defer srv.Close()
	p := newAPIPeople(srv.URL+"/", "token")
	a, err := p.Action(t.Context(), 1)
	if err != nil || a.UIC != "ops,no/team" || a.Callback != 1 || a.BeforeCallbackSMS != 1 {
		t.Errorf("action %+v, %v", a, err)
	}
	if _, err := p.Action(t.Context(), 2); !errors.Is(err, portal.ErrNotFound) {
		t.Errorf("an action that is not there: %v", err)
	}
	if _, err := p.Action(t.Context(), 3); err == nil || errors.Is(err, portal.ErrNotFound) {
		t.Errorf("an answer without an id: %v", err)
	}
	users, err := p.Users(t.Context(), []string{"ops", "no/team", "wrong?s=1#"})
	if err != nil || fmt.Sprint(users) != "[{ann a@x 1 i}]" {
		t.Errorf("users %v, %v", users, err)
	}
	if u, err := p.User(t.Context(), "ann b"); err != nil || u.Email != "a@x" {
		t.Errorf("user %v, %v", u, err)
	}
	if want := `/api/v1/team/name/no%2Fteam {"name":"falcon-alarm","sig":"token"}`; s.asked[4] != want {
		t.Errorf("asked %q, want %q", s.asked[4], want)
	}
	s.away = true
	for _, err := range []error{
		func() error { _, err := p.Action(t.Context(), 1); return err }(),
		func() error { _, err := p.Users(t.Context(), []string{"ops"}); return err }(),
	} {
		if err == nil || errors.Is(err, portal.ErrNotFound) {
			t.Errorf("an api that fails: %v", err)
		}
	}
}

// An answer is kept while it is fresh, used for a day when there is no other, and
// forgotten when what it was about is gone. Failures are believed for a moment only.
func TestRemembered(t *testing.T) {
	var now atomic.Int64
	now.Store(1_000_000)
	m := memory[int, string]{down: &downtime{}, fresh: time.Minute, now: func() time.Time { return time.Unix(now.Load(), 0) }}
	asked := 0
	var fails error
	ask := func(_ context.Context, key int) (string, error) {
		asked++
		return fmt.Sprint("answer ", key, " ", asked), fails
	}
	away := errors.New("away")
	for _, step := range []struct {
		name  string
		after time.Duration
		fails error
		key   int
		want  string
		err   error
		asked int
	}{
		{"first", 0, nil, 1, "answer 1 1", nil, 1},
		{"fresh", 59 * time.Second, away, 1, "answer 1 1", nil, 1},
		{"old, and nobody answers", time.Second, away, 1, "answer 1 1", nil, 2},
		{"nobody is asked again at once", time.Second, nil, 1, "answer 1 1", nil, 2},
		{"nor for others", 0, nil, 2, "", away, 2},
		{"after a moment", time.Second, nil, 2, "answer 2 3", nil, 3},
		{"somebody answers again", 0, nil, 1, "answer 1 4", nil, 4},
		{"gone", time.Minute, portal.ErrNotFound, 1, "", portal.ErrNotFound, 5},
		{"still gone", time.Second, nil, 1, "", portal.ErrNotFound, 5},
		{"back", time.Second, nil, 1, "answer 1 6", nil, 6},
		{"older than a day", 25 * time.Hour, away, 1, "", away, 7},
	} {
		now.Add(int64(step.after / time.Second))
		fails = step.fails
		got, err := m.get(t.Context(), step.key, ask)
		if got != step.want || !errors.Is(err, step.err) || asked != step.asked {
			t.Errorf("%s: %q, %v, asked %d times; want %q, %v, %d", step.name, got, err, asked, step.want, step.err, step.asked)
		}
	}
}

// Many who ask at once ask once.
func TestRememberedAsksOnce(t *testing.T) {
	m := memory[int, int]{down: &downtime{}, fresh: time.Minute, now: time.Now}
	var asked atomic.Int64
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for range 50 {
		wg.Go(func() {
			<-begin
			if v, err := m.get(context.Background(), 1, func(context.Context, int) (int, error) { return int(asked.Add(1)), nil }); v != 1 || err != nil {
				t.Errorf("%d, %v", v, err)
			}
		})
	}
	close(begin)
	wg.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// What a stock api answered a stock alarm, answered to ours: we ask for the same pages
// with the same token, and read the action and its people out of them.
func TestCapturedAPI(t *testing.T) {
	files, err := filepath.Glob("testdata/alarm-api/*.c2s.bin")
	if err != nil || len(files) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	answers := map[string]*http.Response{}
	tokens := map[string]string{}
	for _, file := range files {
		read := func(name string) *bufio.Reader {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			return bufio.NewReader(bytes.NewReader(b))
		}
		requests, replies := read(file), read(strings.Replace(file, ".c2s.", ".s2c.", 1))
		for {
			req, err := http.ReadRequest(requests)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(replies, req)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body = io.NopCloser(bytes.NewReader(b))
			answers[req.URL.Path], tokens[req.URL.Path] = resp, req.Header.Get("Apitoken")
		}
	}
	asked := map[string]bool{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resp := answers[r.URL.Path]
		if resp == nil {
			http.Error(w, `{"error":"record not found"}`, http.StatusBadRequest)
			return
		}
		if got := r.Header.Get("Apitoken"); got != tokens[r.URL.Path] {
			t.Errorf("%s with the token %s, stock's %s", r.URL.Path, got, tokens[r.URL.Path])
		}
		asked[r.URL.Path] = true
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	}))
	defer srv.Close()
	p := newAPIPeople(srv.URL, "interop-default-token")
	for path := range answers {
		switch {
		case strings.HasPrefix(path, "/api/v1/action/"):
			id, err := strconv.Atoi(strings.TrimPrefix(path, "/api/v1/action/"))
			if err != nil {
				t.Fatal(err)
			}
			if a, err := p.Action(t.Context(), id); err != nil || a.ID != int64(id) || a.UIC == "" {
				t.Errorf("action %d: %+v, %v", id, a, err)
			}
		case strings.HasPrefix(path, "/api/v1/team/name/"):
			team := strings.TrimPrefix(path, "/api/v1/team/name/")
			if users, err := p.Users(t.Context(), []string{team}); err != nil || len(users) == 0 || users[0].Email == "" {
				t.Errorf("team %s: %+v, %v", team, users, err)
			}
		default:
			t.Errorf("stock asks for %s", path)
		}
	}
	if len(asked) != len(answers) {
		t.Errorf("asked %v of %d pages", asked, len(answers))
	}
}
