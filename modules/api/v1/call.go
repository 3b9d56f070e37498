package v1

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/gin-gonic/gin/binding"

	"falcon/common/portal"
)

// Headers of ours in answers.
const (
	headerTotal   = "X-Falcon-Total"   // how many rows there are beyond the page
	headerPartial = "X-Falcon-Partial" // who did not answer, with commas: his part is missing
)

// An Error is an answer that is no success. Everything else that handlers return
// as an error is a fault of a store: it is logged, and answered without details.
type Error struct {
	Status int
	Text   string
	// Field, when set, is the one of the request that has to change.
	Field string
}

func (e *Error) Error() string { return e.Text }

// bad is 400: the request can not be understood, or may not be.
func bad(format string, args ...any) error {
	return &Error{Status: http.StatusBadRequest, Text: fmt.Sprintf(format, args...)}
}

// badField is bad with the field that has to change.
func badField(field, format string, args ...any) error {
	return &Error{http.StatusBadRequest, fmt.Sprintf(format, args...), field}
}

// unauthorized is 401: who are you?
func unauthorized(format string, args ...any) error {
	return &Error{Status: http.StatusUnauthorized, Text: fmt.Sprintf(format, args...)}
}

// denied is stock's answer to people who may not: 400, as for most of its routes.
func denied() error { return bad(textDenied) }

const textDenied = "you don't have permission"

// message is how stock answers with a text.
type message struct {
	Message string `json:"message"`
}

// A body that is JSON already is written as it is.
type rawJSON []byte

// A Call is one request on its way through a handler.
type Call struct {
	gin    *gin.Context
	route  *Route
	max    int64
	Caller Caller

	buffer *[]byte // holds the answer, to be used again once it is written

	object string // for the audit log: what it was done to
	before any    // what was there
	after  any    // and what is there now
	same   bool   // nothing was changed after all
}

// Ctx returns the context of the request.
func (c *Call) Ctx() context.Context { return c.gin.Request.Context() }

// Param returns a part of the path.
func (c *Call) Param(name string) string { return c.gin.Param(name) }

// Query returns a parameter of the URL, "" when it is missing.
func (c *Call) Query(name string) string { return c.gin.Query(name) }

// Header returns a header of the request.
func (c *Call) Header(name string) string { return c.gin.GetHeader(name) }

// SetHeader sets a header of the answer.
func (c *Call) SetHeader(name, value string) { c.gin.Header(name, value) }

// IP returns the address of the caller, as far as the proxies are trusted.
func (c *Call) IP() string { return c.gin.ClientIP() }

// Audit says what the route was done to, for the audit log, and what is there
// now. Nothing secret may be in after.
func (c *Call) Audit(object any, after any) { c.object, c.after = fmt.Sprint(object), after }

// Before says what was there, for the audit log. Nothing secret may be in it.
func (c *Call) Before(before any) { c.before = before }

// Unchanged says that a route that may change something has not.
func (c *Call) Unchanged() { c.same = true }

// denied is the answer to people who may not: 417 for the families of routes that
// answer so in stock, else 400.
func (c *Call) denied() error {
	e := &Error{Status: http.StatusBadRequest, Text: textDenied}
	if c.route.Missing == http.StatusExpectationFailed {
		e.Status = http.StatusExpectationFailed
	}
	return e
}

// partial says that some graph nodes, or judges, did not answer.
func (s *server) partial(c *Call, failed []string) {
	if len(failed) > 0 {
		s.counts.partial.Add(1)
		c.SetHeader(headerPartial, strings.Join(failed, ","))
	}
}

// Bind reads the request into v, a pointer, by stock's rules (contract query 2.1):
// the query string for GET; else the body as JSON or XML when its type says so, and
// as a form together with the query string when it is anything else. Fields need
// the tags json, form and xml.
func (c *Call) Bind(v any) error {
	r := c.gin.Request
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if r.Method == http.MethodGet {
		kind = ""
	}
	var err error
	switch kind {
	case binding.MIMEJSON:
		err = oneJSON(r.Body, v)
	case binding.MIMEXML, binding.MIMEXML2:
		err = xml.NewDecoder(r.Body).Decode(v)
	default:
		if r.Method == http.MethodDelete && kind == "" { // curl -X DELETE -d and friends
			var b []byte
			if b, err = io.ReadAll(r.Body); err == nil && len(b) > 0 {
				return bindError(json.Unmarshal(b, v), c.max)
			}
		}
		if err == nil {
			err = c.gin.ShouldBindWith(v, binding.Form)
		}
	}
	return bindError(err, c.max)
}

// oneJSON reads exactly one value.
func oneJSON(r io.Reader, v any) error {
	dec := json.NewDecoder(r)
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = errors.New("something follows the JSON value")
		}
		return err
	}
	return nil
}

func bindError(err error, max int64) error {
	var large *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &large):
		return &Error{Status: http.StatusRequestEntityTooLarge, Text: fmt.Sprintf("the request body is larger than %d bytes", max)}
	case errors.Is(err, io.EOF):
		return bad("the request has no body")
	}
	return bad("%v", err)
}

// required says which of the named texts is missing: required("name", v.Name, …).
func required(pairs ...string) error {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			return bad("%s is required", pairs[i])
		}
	}
	return nil
}

// uid reads the part :uid of the path.
func (c *Call) uid() (int64, error) {
	id, err := strconv.ParseInt(c.Param("uid"), 10, 64)
	if err != nil || id <= 0 {
		return 0, bad("uid %q is not the id of a user", c.Param("uid"))
	}
	return id, nil
}

// id reads a part of the path that is the id of what.
func (c *Call) id(part, what string) (int64, error) {
	id, err := strconv.ParseInt(c.Param(part), 10, 64)
	if err != nil || id <= 0 {
		return 0, bad("%q is not the id of %s", c.Param(part), what)
	}
	return id, nil
}

// ofPath reads the row whose id is a part of the path.
func ofPath[T any](c *Call, part, what string, read func(context.Context, int64) (T, error)) (T, error) {
	id, err := c.id(part, what)
	if err != nil {
		var none T
		return none, err
	}
	return read(c.Ctx(), id)
}

// positive reads a parameter that is a number above 0, or returns def when it is
// missing.
func (c *Call) positive(name string, def int) (int, error) {
	text := c.Query(name)
	if text == "" {
		return def, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 {
		return 0, bad("%s %q is not a number above 0", name, text)
	}
	return n, nil
}

// page reads limit and page by stock's rule for lists: both or nothing. limit 0
// means everything.
func (c *Call) page() (limit, offset int, err error) {
	if c.Query("page") == "" {
		return 0, 0, nil // a limit without a page is ignored
	}
	if c.Query("limit") == "" {
		return 0, 0, bad("page without limit")
	}
	page, err := c.positive("page", 1)
	if err != nil {
		return 0, 0, err
	}
	limit, err = c.positive("limit", 0)
	if err != nil {
		return 0, 0, err
	}
	if page > 1<<31/limit {
		return 0, 0, bad("page %d is too far", page)
	}
	return limit, (page - 1) * limit, nil
}

// serve turns a line of the table into a handler of the router.
func (s *server) serve(r Route) gin.HandlerFunc {
	if r.Raw != nil {
		return func(c *gin.Context) { r.Raw.ServeHTTP(c.Writer, c.Request) }
	}
	return func(g *gin.Context) {
		s.counts.requests.Add(1)
		now := s.Now()
		ctx, cancel := context.WithTimeout(g.Request.Context(), s.RequestTimeout)
		defer cancel()
		g.Request = g.Request.WithContext(ctx)
		g.Request.Body = http.MaxBytesReader(g.Writer, g.Request.Body, s.MaxBody)

		c := &Call{gin: g, route: &r, max: s.MaxBody}
		defer s.release(c)
		result, err := s.run(c)
		if r.Writes() {
			s.callers.forget()
		}
		if err != nil {
			s.answerError(c, err)
			return
		}
		if r.Writes() && !c.same {
			s.audit(c, now)
			if s.RulesChanged != nil && r.changesRules() {
				s.RulesChanged()
			}
		}
		switch v := result.(type) {
		case string:
			g.JSON(http.StatusOK, message{v})
		case rawJSON:
			g.Data(http.StatusOK, "application/json; charset=utf-8", v)
		default:
			g.JSON(http.StatusOK, v)
		}
	}
}

// maxKept bounds the answer buffers that are used again.
const maxKept = 4 << 20

// release gives back the buffer of an answer that is written.
func (s *server) release(c *Call) {
	if c.buffer != nil && cap(*c.buffer) <= maxKept {
		s.buffers.Put(c.buffer)
	}
}

// run lets the caller in, or not, and runs the handler.
func (s *server) run(c *Call) (any, error) {
	if err := s.admit(c); err != nil {
		return nil, err
	}
	return c.route.Handler(s, c)
}

func (s *server) answerError(c *Call, err error) {
	s.counts.errors.Add(1)
	status, text, field := http.StatusBadRequest, "", ""
	var e *Error
	var invalid *portal.InvalidError
	switch {
	case errors.As(err, &e):
		status, text, field = e.Status, e.Text, e.Field
	case errors.Is(err, portal.ErrNotFound):
		text = portal.ErrNotFound.Error()
		if c.route.Missing != 0 {
			status = c.route.Missing
		}
	case errors.As(err, &invalid):
		text, field = err.Error(), invalid.Field
	case errors.Is(err, portal.ErrExists):
		text = err.Error()
	case c.gin.Request.Context().Err() != nil:
		text = "the request took longer than " + s.RequestTimeout.String() + ": ask for less"
		if errors.Is(c.gin.Request.Context().Err(), context.Canceled) {
			text = "the caller went away"
		}
	default:
		text = "the database can not answer, see the log of api"
		s.Log.Error("request not answered", "method", c.route.Method, "path", c.route.Path, "err", err)
	}
	answer := map[string]string{"error": text}
	if field != "" {
		answer["field"] = field
	}
	c.gin.JSON(status, answer)
}
