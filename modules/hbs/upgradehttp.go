package hbs

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"falcon/common/daemon"
	"falcon/common/model"
	"falcon/modules/hbs/wave"
)

// cancelled is what the fork answers to DELETE /agent/upgrade; scripts compare it.
const cancelled = "取消升级成功"

const (
	// maxOrder bounds the body of an order, in bytes: two signatures are its largest part.
	maxOrder = 64 << 10
	// maxVersion is what table host has room for, in bytes.
	maxVersion = 16
)

// upgradePages serves /agentversions and /agent/upgrade (contract ingest 3.11).
func (h *HBS) upgradePages(mux *http.ServeMux) {
	mux.HandleFunc("GET /agentversions", func(w http.ResponseWriter, _ *http.Request) { exactly(w, h.beats.versions()) })
	mux.HandleFunc("GET /agent/upgrade/nowargs", func(w http.ResponseWriter, _ *http.Request) {
		var args model.AgentUpgradeArgs
		if h.upgrades != nil {
			if s := h.upgrades.current.Load(); s != nil {
				args = s.Args
			}
		}
		exactly(w, args)
	})
	mux.HandleFunc("GET /agent/upgrade/status", func(w http.ResponseWriter, r *http.Request) {
		if h.upgrades == nil {
			exactly(w, UpgradeStatus{State: "none", Reason: noRedis, Hosts: []UpgradeHost{}})
			return
		}
		st, err := h.upgrades.status(r.Context())
		if err != nil {
			failed(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		exactly(w, st)
	})
	mux.HandleFunc("POST /agent/upgrade", h.operator(h.orderUpgrade))
	mux.HandleFunc("DELETE /agent/upgrade", h.operator(func(w http.ResponseWriter, r *http.Request) {
		h.told(w, r, "cancelled", h.upgrades.cancel(r.Context()), cancelled)
	}))
	mux.HandleFunc("POST /agent/upgrade/stop", h.operator(func(w http.ResponseWriter, r *http.Request) {
		stop := func(ww wave.Wave) wave.Wave { return wave.Stop(ww, "somebody stopped it") }
		h.told(w, r, "stopped", h.upgrades.change(r.Context(), stop), "stopped")
	}))
	mux.HandleFunc("POST /agent/upgrade/go", h.operator(func(w http.ResponseWriter, r *http.Request) {
		h.told(w, r, "resumed", h.upgrades.resume(r.Context()), "running")
	}))
}

const noRedis = "upgrades need Redis, which all hbs share: set redis.enabled to true"

// exactly answers in stock's envelope, byte by byte as the fork does: without a line
// feed.
func exactly(w http.ResponseWriter, data any) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(struct {
		Msg  string `json:"msg"`
		Data any    `json:"data"`
	}{"success", data}); err != nil {
		failed(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	_, _ = io.WriteString(w, strings.TrimSuffix(b.String(), "\n"))
}

// told answers what an operator did.
func (h *HBS) told(w http.ResponseWriter, r *http.Request, what string, err error, said string) {
	switch {
	case errors.Is(err, errNothing):
		failed(w, http.StatusNotFound, err.Error())
	case err != nil:
		failed(w, http.StatusServiceUnavailable, err.Error())
	default:
		h.log.Warn("the upgrade of agents is "+what+" by request", "peer", r.RemoteAddr)
		exactly(w, said)
	}
}

// operator lets those in who sit at this machine, and with upgrade_remote those who have
// the admin token. An order makes programs run on every host: a page in a browser on
// this machine must not give one, so whoever comes with an Origin, or to a name that is
// not this machine's own, is refused; and so is whoever a proxy brings along.
func (h *HBS) operator(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if why := h.refuses(r); why != "" {
			h.log.Warn("a request about upgrades is refused", "peer", r.RemoteAddr, "method", r.Method, "host", r.Host, "reason", why)
			failed(w, http.StatusForbidden, why)
			return
		}
		if h.upgrades == nil {
			failed(w, http.StatusServiceUnavailable, noRedis)
			return
		}
		serve(w, r)
	}
}

// refuses says why a request is not an operator's; empty when it is.
func (h *HBS) refuses(r *http.Request) string {
	if r.Header.Get("Origin") != "" {
		return "pages in browsers may not order upgrades: the request has an Origin"
	}
	token := struct {
		Sig string `json:"sig"`
	}{}
	_ = json.Unmarshal([]byte(r.Header.Get("Apitoken")), &token) // none is empty
	want := h.cfg.AdminToken.Reveal()
	if h.cfg.UpgradeRemote && want != "" && subtle.ConstantTimeCompare([]byte(token.Sig), []byte(want)) == 1 {
		return ""
	}
	const elsewhere = "this is for callers on hbs's own machine, at 127.0.0.1; from elsewhere it takes upgrade_remote and admin_token"
	switch {
	case !daemon.IsLocal(r):
		return elsewhere
	case r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("Forwarded") != "":
		return elsewhere + "; a proxy passed this on"
	case !loopbackName(r.Host):
		return elsewhere + fmt.Sprintf("; the request names %q", r.Host)
	}
	return ""
}

// loopbackName says whether the Host of a request is this machine's own name for itself.
func loopbackName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback() || strings.EqualFold(host, "localhost")
}

// orderUpgrade takes an order.
func (h *HBS) orderUpgrade(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxOrder))
	if err != nil {
		failed(w, http.StatusBadRequest, "read the body: "+err.Error())
		return
	}
	args, err := parseOrder(body)
	if err != nil {
		failed(w, http.StatusBadRequest, err.Error())
		return
	}
	ladder := args.Waves
	if len(ladder) == 0 {
		ladder = h.cfg.Upgrade.Waves
	}
	if err := h.upgrades.begin(context.WithoutCancel(r.Context()), args, ladder); err != nil {
		failed(w, http.StatusServiceUnavailable, "the order is not stored: "+err.Error())
		return
	}
	h.log.Warn("an upgrade of agents is ordered", "peer", r.RemoteAddr, "version", args.Version, "type", args.Type, "from", args.WgetURL, "waves", ladder)
	exactly(w, args)
}

// parseOrder reads an order and refuses what can not come to anything. A type that is
// unknown is taken, as the fork does; nobody is told of it.
func parseOrder(body []byte) (args model.AgentUpgradeArgs, err error) {
	if err := json.Unmarshal(body, &args); err != nil {
		return args, fmt.Errorf("the order can not be read: %w", err)
	}
	u, err := url.Parse(args.WgetURL)
	switch {
	case args.WgetURL == "":
		return args, errors.New("wgeturl is required: the place that has bin_<version>, such as http://10.0.0.1/file/open-falcon")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return args, fmt.Errorf("wgeturl %q is no address, write http://host/path", args.WgetURL)
	case args.Version == "":
		return args, errors.New("version is required: what the new agent answers to -v")
	case len(args.Version) > maxVersion:
		return args, fmt.Errorf("version %q is longer than %d bytes: agents report no more, so it would never be reached", args.Version, maxVersion)
	case strings.ContainsFunc(args.Version, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._+-~", r))
	}) || args.Version == "." || args.Version == "..":
		return args, fmt.Errorf("version %q is no file name of letters, digits and ._+-~", args.Version)
	case args.HasBinary() && args.BinFileMd5 == "":
		return args, fmt.Errorf("binfile_md5 is required for type %d", args.Type)
	case args.HasConfig() && args.CfgFileMd5 == "":
		return args, fmt.Errorf("cfgfile_md5 is required for type %d", args.Type)
	}
	for _, f := range []struct {
		key, sum string
		bytes    int
	}{
		{"binfile_md5", args.BinFileMd5, 16}, {"cfgfile_md5", args.CfgFileMd5, 16},
		{"binfile_sha256", args.BinFileSHA256, 32}, {"cfgfile_sha256", args.CfgFileSHA256, 32},
	} {
		if b, err := hex.DecodeString(f.sum); f.sum != "" && (err != nil || len(b) != f.bytes) {
			return args, fmt.Errorf("%s %q is not %d hex digits", f.key, f.sum, 2*f.bytes)
		}
	}
	for key, sig := range map[string]string{"binfile_sig": args.BinFileSig, "cfgfile_sig": args.CfgFileSig} {
		if sig != "" && !looksSigned(sig) {
			return args, fmt.Errorf("%s is no minisign signature: give the whole text of the .minisig file", key)
		}
	}
	if args.Waves != nil {
		if err := wave.CheckLadder(args.Waves); err != nil {
			return args, err
		}
	}
	return args, nil
}

// looksSigned says whether a text has the form of a .minisig file. Agents, which have
// the key, look at the rest.
func looksSigned(text string) bool {
	lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(text, "\r", "")), "\n")
	return len(lines) == 4 && strings.HasPrefix(lines[0], "untrusted comment:") && strings.HasPrefix(lines[2], "trusted comment:") &&
		!slices.ContainsFunc([]string{lines[1], lines[3]}, func(s string) bool { _, err := base64.StdEncoding.DecodeString(s); return err != nil })
}
