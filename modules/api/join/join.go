// Package join serves what makes another Linux host report here: a script, the agent's
// program and its guard's.
//
//	curl -fsS http://falcon.example:8080/api/v1/join | sudo sh
//
// The script finds out what kind of machine it is on, fetches the agent, compares its
// SHA-256, and writes its configuration with the addresses of transfer and hbs. As root
// on a host with systemd it installs the unit and starts it; else it runs the agent in
// the foreground. An agent or a configuration that is there already stays. Neither script
// nor program holds a secret.
package join

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"text/template"
	"time"

	"falcon/deploy"
)

// Config says where a host that joins sends its points and heartbeats.
type Config struct {
	// Transfers and HBS are host:port; without a host (":8433") it is the one under
	// which api is asked. With neither there is no joining.
	Transfers []string `json:"transfers"`
	HBS       []string `json:"hbs"`
	// TLS is for transfers and an hbs that speak it.
	TLS bool `json:"tls"`
	// Programs is the folder of the agent's programs, falcon-agent-linux-amd64 and
	// -arm64, and those of its guard, falcon-agent-guard-linux-amd64 and -arm64. Empty: "download" beside the running program, or /usr/share/falcon/download.
	Programs string `json:"programs"`
}

// Validate reports addresses that are none.
func (c *Config) Validate() error {
	var errs []error
	for key, list := range map[string][]string{"transfers": c.Transfers, "hbs": c.HBS} {
		for _, a := range list {
			if _, port, err := net.SplitHostPort(a); err != nil || port == "" {
				errs = append(errs, fmt.Errorf("%s: %q is no address, write host:port or :port", key, a))
			}
		}
	}
	if (len(c.Transfers) == 0) != (len(c.HBS) == 0) {
		errs = append(errs, errors.New("transfers and hbs: a host that joins needs both"))
	}
	return errors.Join(errs...)
}

// Enabled reports whether hosts can join.
func (c *Config) Enabled() bool { return len(c.Transfers) > 0 && len(c.HBS) > 0 }

// architectures are the names of uname -m and Go's.
var architectures = map[string]string{"x86_64": "amd64", "aarch64": "arm64"}

// A Server answers; its methods are the two routes.
type Server struct {
	cfg  Config
	self string // the folder of the running program

	mu   sync.Mutex
	sums map[string]sum // by path
}

type sum struct {
	at   time.Time
	size int64
	hex  string
}

// New returns a Server.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, sums: map[string]sum{}}
	if exe, err := os.Executable(); err == nil {
		s.self = filepath.Dir(exe)
	}
	return s
}

//go:embed join.sh
var script string

var page = template.Must(template.New("join.sh").Funcs(template.FuncMap{"quote": quote}).Parse(script))

// quote makes text one word of the shell.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// hostname is what a Host header may be: it gets into a script that root runs.
var hostname = regexp.MustCompile(`^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$`)

// Why hosts can not join.
const (
	alone     = "no host can join: this Falcon listens on its own machine only. Start it with --listen 0.0.0.0, or set join.transfers and join.hbs of api"
	noProgram = "no host can join: there is no agent to give. make build lays it into bin/download, make install into /usr/share/falcon/download"
	noHost    = "no host can join by this address: it is no name of a host"
)

// A program is an agent for one kind of machine, and its guard, without which it is not
// upgraded from here.
type program struct{ Machine, Arch, Sum, Guard string }

// programs returns the agents that there are.
func (s *Server) programs() (all []program) {
	for machine, arch := range architectures {
		if _, hex, err := s.program(agent, arch); err == nil {
			_, guard, _ := s.program(guard, arch) // empty when there is none
			all = append(all, program{machine, arch, hex, guard})
		}
	}
	slices.SortFunc(all, func(a, b program) int { return strings.Compare(a.Arch, b.Arch) })
	return all
}

// refusal says why whoever asks can not join, "" when he can.
func (s *Server) refusal(r *http.Request, programs []program) string {
	switch {
	case !s.cfg.Enabled():
		return alone
	case !hostname.MatchString(r.Host):
		return noHost
	case len(programs) == 0:
		return noProgram
	}
	return ""
}

// origin is the address under which we were asked.
func origin(r *http.Request) string {
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// Line returns the command by which a host joins, or why there is none.
func (s *Server) Line(r *http.Request) (command, why string) {
	if why := s.refusal(r, s.programs()); why != "" {
		return "", why
	}
	return Command(origin(r)), ""
}

// Command is the line that makes a host join whose Falcon is at an address such as
// http://10.0.0.1:8080.
func Command(origin string) string { return "curl -fsS " + origin + Path + " | sudo sh" }

// Path is where Script is served; below it are the programs.
const Path = "/api/v1/join"

// Script answers GET /api/v1/join.
func (s *Server) Script(w http.ResponseWriter, r *http.Request) {
	programs := s.programs()
	if why := s.refusal(r, programs); why != "" {
		// curl -f shows no body; a pipe without -f to sh shows this.
		http.Error(w, "echo "+quote("join: "+why)+" >&2; exit 1", http.StatusNotFound)
		return
	}
	config, err := s.agentConfig(r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	var b bytes.Buffer
	if err := page.Execute(&b, struct {
		Falcon, URL, Config, Unit, Target string
		Programs                          []program
	}{origin(r), origin(r) + Path, config, deploy.AgentUnit, deploy.Target, programs}); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/x-shellscript; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(b.Bytes())
}

// agentConfig is the configuration of an agent that is told of us as host.
func (s *Server) agentConfig(host string) (string, error) {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	full := func(list []string) (out []string) {
		for _, a := range list {
			name, port, _ := net.SplitHostPort(a) // Validate has looked
			if name == "" {
				name = host
			}
			out = append(out, net.JoinHostPort(name, port))
		}
		return out
	}
	tls := map[string]any{"enabled": s.cfg.TLS}
	b, err := json.MarshalIndent(map[string]any{
		"transfer":              map[string]any{"enabled": true, "addrs": full(s.cfg.Transfers), "interval": 60, "tls": tls},
		"heartbeat":             map[string]any{"enabled": true, "addr": strings.Join(full(s.cfg.HBS), ","), "tls": tls},
		"http":                  map[string]any{"enabled": true, "listen": "127.0.0.1:1988"},
		"metric_level_interval": map[string]any{"level_1": 10, "level_2": 30, "level_3": 60},
		"spool":                 map[string]any{"dir": "@SPOOL@"},
		"nic_type_tag":          true,
		"self_upgrade":          true,
		"ignore":                map[string]any{},
	}, "", "  ")
	return string(b), err
}

// Download answers GET /api/v1/join/:file with a program of the agent.
func (s *Server) Download(w http.ResponseWriter, r *http.Request) {
	name, arch, ok := strings.Cut(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:], "-linux-")
	if !ok || name != agent && name != guard || arch != "amd64" && arch != "arm64" {
		http.NotFound(w, r)
		return
	}
	path, hex, err := s.program(name, arch)
	if err != nil {
		http.Error(w, fmt.Sprintf("no %s for linux/%s is here: %v", name, arch, err), http.StatusNotFound)
		return
	}
	f, err := os.Open(path)
	if err != nil {
		http.Error(w, "the program can not be read", http.StatusInternalServerError)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		http.Error(w, "the program can not be read", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", `"`+hex+`"`)
	http.ServeContent(w, r, "", info.ModTime(), f)
}

// The programs that are given.
const agent, guard = "falcon-agent", "falcon-agent-guard"

// program returns the path of a program for an architecture, and its SHA-256.
func (s *Server) program(name, arch string) (path, hex string, err error) {
	file := name + "-linux-" + arch
	candidates := []string{filepath.Join(s.cfg.Programs, file)}
	if s.cfg.Programs == "" {
		candidates = []string{filepath.Join(s.self, "download", file), filepath.Join("/usr/share/falcon/download", file)}
		if arch == runtime.GOARCH {
			candidates = append(candidates, filepath.Join(s.self, name))
		}
	}
	for _, path := range candidates {
		hex, err := s.sumOf(path)
		if err == nil {
			return path, hex, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", "", err
		}
	}
	return "", "", fmt.Errorf("%s: %w", candidates[0], fs.ErrNotExist)
}

// sumOf returns the SHA-256 of a file, worked out again when the file changes.
func (s *Server) sumOf(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.sums[path]; ok && old.at.Equal(info.ModTime()) && old.size == info.Size() {
		return old.hex, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	s.sums[path] = sum{info.ModTime(), info.Size(), hex.EncodeToString(h.Sum(nil))}
	return s.sums[path].hex, nil
}
