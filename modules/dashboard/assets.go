package dashboard

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// dist is what web/ builds to; make ui writes it.
//
//go:embed dist
var dist embed.FS

// policy lets the page run its own files and nothing else, and speak to its own
// origin alone; nobody else may frame it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'self'"

// An asset is one file in the forms in which it is sent.
type asset struct {
	kind      string // Content-Type
	cache     string // Cache-Control
	plain     []byte
	zipped    []byte // nil when it is hardly smaller
	tag       string // ETag of plain
	zippedTag string
}

// assets are the files of the page by their path.
type assets struct {
	files map[string]*asset
	index *asset
}

// Handler returns the page: its files, and for every address that is a page the one
// document that draws it. It answers GET and HEAD. Files whose names carry a hash
// may be kept for ever; the document is asked for each time and costs a 304.
func Handler() (http.Handler, error) {
	sub, err := fs.Sub(dist, "dist")
	if err != nil {
		return nil, fmt.Errorf("assets of the page: %w", err)
	}
	return newAssets(sub)
}

func newAssets(root fs.FS) (*assets, error) {
	a := &assets{files: map[string]*asset{}}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		f, err := newAsset(name, b)
		if err != nil {
			return err
		}
		a.files["/"+name] = f
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("assets of the page: %w", err)
	}
	if a.index = a.files["/index.html"]; a.index == nil {
		return nil, fmt.Errorf("assets of the page: there is no index.html: run make ui")
	}
	delete(a.files, "/index.html")
	return a, nil
}

func newAsset(name string, b []byte) (*asset, error) {
	kind := mime.TypeByExtension(path.Ext(name))
	switch path.Ext(name) { // the machine's own table may say otherwise
	case ".js":
		kind = "text/javascript; charset=utf-8"
	case ".css":
		kind = "text/css; charset=utf-8"
	case ".svg":
		kind = "image/svg+xml"
	case ".html":
		kind = "text/html; charset=utf-8"
	}
	f := &asset{kind: kind, cache: "no-cache", plain: b}
	if strings.HasPrefix(name, "assets/") {
		f.cache = "public, max-age=31536000, immutable"
	}
	sum := sha256.Sum256(b)
	tag := hex.EncodeToString(sum[:8])
	f.tag, f.zippedTag = `"`+tag+`"`, `"`+tag+`-gz"`

	var buf bytes.Buffer
	w, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if buf.Len() < len(b)*9/10 {
		f.zipped = buf.Bytes()
	}
	return f, nil
}

// pages are the addresses that mean a page; the page itself knows what they show.
var pages = regexp.MustCompile(`^/(login|explore|alarms|expressions|teams|channels|(templates|hostgroups|hosts)(/[0-9]+)?|(portal|screens?|charts?)(/.*)?)?$`)

// ServeHTTP answers with a file, with the page, or with the page that says that
// there is no such page.
func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "the page is read with GET", http.StatusMethodNotAllowed)
		return
	}
	if f, ok := a.files[r.URL.Path]; ok {
		f.serve(w, r, http.StatusOK)
		return
	}
	switch {
	case pages.MatchString(r.URL.Path) || r.URL.Path == "/index.html":
		a.index.serve(w, r, http.StatusOK)
	case strings.HasPrefix(r.URL.Path, "/assets/") || path.Ext(r.URL.Path) != "":
		// A file of another release, most likely: a document in its place would
		// be run as a script.
		http.Error(w, "there is no such file", http.StatusNotFound)
	default:
		a.index.serve(w, r, http.StatusNotFound)
	}
}

func (f *asset) serve(w http.ResponseWriter, r *http.Request, status int) {
	h := w.Header()
	body, tag := f.plain, f.tag
	if f.zipped != nil {
		h.Set("Vary", "Accept-Encoding")
		if acceptsGzip(r.Header.Get("Accept-Encoding")) {
			h.Set("Content-Encoding", "gzip")
			body, tag = f.zipped, f.zippedTag
		}
	}
	h.Set("Cache-Control", f.cache)
	h.Set("ETag", tag)
	if status == http.StatusOK && sameTag(r.Header.Get("If-None-Match"), tag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", f.kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // a browser that has left
	}
}

// acceptsGzip reads Accept-Encoding: gzip named, or *, and not with q=0.
func acceptsGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		if name = strings.TrimSpace(name); !strings.EqualFold(name, "gzip") && name != "*" {
			continue
		}
		_, q, ok := strings.Cut(params, "q=")
		if !ok {
			return true
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(q), 64)
		return err == nil && v > 0
	}
	return false
}

// sameTag says whether If-None-Match names tag.
func sameTag(header, tag string) bool {
	for part := range strings.SplitSeq(header, ",") {
		part = strings.TrimPrefix(strings.TrimSpace(part), "W/")
		if part == tag || part == "*" {
			return true
		}
	}
	return false
}
