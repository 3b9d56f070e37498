package daemon

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"strings"

	"falcon/common/stat"
)

// Admin is what a daemon shows of itself over HTTP.
type Admin struct {
	// Stats are its counters.
	Stats *stat.Set
	// Wrapped puts /counter/all into {"msg":"success","data":…}, as the stock
	// daemon of that name does.
	Wrapped bool
	// Health returns nil when the daemon takes work, else why it does not.
	// Nil means always.
	Health func() error
	// Notes says, a line each, what does not keep the daemon from work and should be
	// known: /health has it below its ok. Nil means nothing.
	Notes func() []string
	// Config returns the configuration in force, with secrets that mask
	// themselves.
	Config func() any
	// Reload reads the file again and applies it; nil when there is no file. The
	// text says what happened, for example which keys wait for a restart.
	Reload func() (string, error)
	// Trusted says who may reload the configuration and profile, and then nobody else sees
	// the configuration either; nil lets callers on this machine do the first two.
	Trusted func(r *http.Request) bool
	// Line ends the texts of /health, /version and /workdir with a line feed, as
	// stock transfer does; stock agent and graph do not.
	Line bool
}

// Mux returns a mux with the pages every daemon has: /health, /version, /workdir,
// /config, /config/reload, /counter/all, /statistics/all, /metrics and, for this
// machine or whom the daemon trusts only, /debug/pprof/. The daemon adds its own.
func (a Admin) Mux() *http.ServeMux {
	mux := http.NewServeMux()
	end := ""
	if a.Line {
		end = "\n"
	}
	text := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, s+end) }
	}
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		if a.Health != nil {
			if err := a.Health(); err != nil {
				plain(w, http.StatusServiceUnavailable, err.Error()+"\n")
				return
			}
		}
		said := "ok"
		if a.Notes != nil {
			said = strings.Join(append([]string{said}, a.Notes()...), "\n")
		}
		plain(w, http.StatusOK, said+end)
	})
	mux.HandleFunc("GET /version", text(Version()))
	mux.HandleFunc("GET /workdir", text(workdir()))
	config := func(w http.ResponseWriter, _ *http.Request) { WriteJSON(w, a.Config()) }
	guarded := LocalOnly
	if a.Trusted != nil {
		guarded = func(h http.HandlerFunc) http.HandlerFunc {
			return only(a.Trusted, "no privilege: this page is for callers on this machine and those that are trusted", h)
		}
		config = guarded(config)
	}
	mux.HandleFunc("GET /config", config)
	mux.HandleFunc("/config/reload", guarded(a.reload))
	mux.Handle("GET /counter/all", a.Stats.ServeCounters(a.Wrapped))
	mux.Handle("GET /statistics/all", a.Stats.ServeCounters(true))
	mux.Handle("GET /metrics", a.Stats.Metrics())
	mux.HandleFunc("/debug/pprof/", guarded(pprof.Index))
	mux.HandleFunc("/debug/pprof/cmdline", guarded(pprof.Cmdline))
	mux.HandleFunc("/debug/pprof/profile", guarded(pprof.Profile))
	mux.HandleFunc("/debug/pprof/symbol", guarded(pprof.Symbol))
	mux.HandleFunc("/debug/pprof/trace", guarded(pprof.Trace))
	return mux
}

func (a Admin) reload(w http.ResponseWriter, _ *http.Request) {
	if a.Reload == nil {
		plain(w, http.StatusConflict, "there is no configuration file to read again\n")
		return
	}
	said, err := a.Reload()
	if err != nil {
		plain(w, http.StatusBadRequest, "nothing changed: "+err.Error()+"\n")
		return
	}
	plain(w, http.StatusOK, said+"\n")
}

// LocalOnly serves h to callers on this machine and answers everybody else with
// 403.
func LocalOnly(h http.HandlerFunc) http.HandlerFunc {
	return only(IsLocal, "no privilege: this page is for callers on this machine", h)
}

// only serves h to whom may and answers everybody else with 403 and a reason.
func only(may func(*http.Request) bool, reason string, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !may(r) {
			plain(w, http.StatusForbidden, reason+"\n")
			return
		}
		h(w, r)
	}
}

// IsLocal reports whether r came from this machine over the loopback.
func IsLocal(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// WriteJSON answers with v.
func WriteJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v)
}

func plain(w http.ResponseWriter, code int, s string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(s))
}

// workdir returns the folder of the running program.
func workdir() string {
	exe, err := os.Executable()
	if err != nil {
		return ""
	}
	return filepath.Dir(exe)
}
