package dashboard

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"time"
)

// proxy passes requests on to api as they came. The Host stays the browser's, since
// api compares it with the origin of the page.
func (d *Dashboard) proxy() (http.Handler, error) {
	target, err := d.cfg.api()
	if err != nil {
		return nil, err
	}
	p := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
			// Whoever is in front of us has said more than we can see; api decides
			// whom of this chain it believes (trusted_proxies).
			r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
			r.SetXForwarded()
			if proto := r.In.Header["X-Forwarded-Proto"]; proto != nil {
				r.Out.Header["X-Forwarded-Proto"] = proto
			}
		},
		Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
			ResponseHeaderTimeout: d.cfg.Timeout.D(),
			MaxIdleConnsPerHost:   64,
			IdleConnTimeout:       90 * time.Second,
			ForceAttemptHTTP2:     true,
		},
		FlushInterval: -1, // what api sends bit by bit arrives bit by bit
		ErrorHandler:  d.away,
		ErrorLog:      slog.NewLogLogger(d.log.Handler(), slog.LevelDebug),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.proxied.Add(1)
		p.ServeHTTP(w, r)
	}), nil
}

// away answers in api's place when it does not.
func (d *Dashboard) away(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // the browser has left
	}
	d.failed.Add(1)
	d.log.Warn("api did not answer", "method", r.Method, "path", r.URL.Path, "api", d.cfg.API, "err", err)
	status, text := http.StatusBadGateway, "the api does not answer: see the log of dashboard"
	var slow net.Error
	if errors.As(err, &slow) && slow.Timeout() {
		status, text = http.StatusGatewayTimeout, "the api took longer than "+d.cfg.Timeout.D().String()
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": text})
}
