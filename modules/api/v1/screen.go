package v1

import (
	"net/http"

	"falcon/common/portal"
)

// withDashboard is a handler that needs the database dashboard.
func withDashboard(h func(*server, *Call) (any, error)) func(*server, *Call) (any, error) {
	return func(s *server, c *Call) (any, error) {
		if s.Portal.Dashboard == nil {
			return nil, &Error{Status: http.StatusServiceUnavailable, Text: "this api has no database of screens: set db.dashboard in its configuration"}
		}
		return h(s, c)
	}
}

// screenLimit is how many screens or graphs stock lists at most unless told otherwise.
const screenLimit = 500

// --- screens -------------------------------------------------------------------------

type screenInput struct {
	PID  *int64  `json:"pid" form:"pid" xml:"pid"`
	Name *string `json:"name" form:"name" xml:"name"`
}

// createScreen makes a screen, or returns the one that has the name in that place.
func (s *server) createScreen(c *Call) (any, error) {
	var in screenInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	screen, made, err := s.Portal.CreateScreen(c.Ctx(), portal.Screen{PID: or(in.PID), Name: or(in.Name)})
	if err != nil {
		return nil, err
	}
	if !made {
		c.Unchanged()
	}
	c.Audit(screen.ID, screen)
	return screen, nil
}

// screenOfPath reads the screen of :id.
func (s *server) screenOfPath(c *Call) (*portal.Screen, error) {
	return ofPath(c, "id", "a screen", s.Portal.Screen)
}

func (s *server) screen(c *Call) (any, error) {
	screen, err := s.screenOfPath(c)
	if err != nil {
		return nil, err
	}
	return screen, nil
}

func (s *server) screensBelow(c *Call) (any, error) {
	if c.Param("pid") == "0" {
		return s.Portal.ScreensBelow(c.Ctx(), 0)
	}
	pid, err := c.id("pid", "a screen")
	if err != nil {
		return nil, err
	}
	return s.Portal.ScreensBelow(c.Ctx(), pid)
}

func (s *server) screens(c *Call) (any, error) {
	limit, err := c.positive("limit", screenLimit)
	if err != nil {
		return nil, err
	}
	return s.Portal.Screens(c.Ctx(), nil, limit, 0)
}

// screenByName is the fork's search for one screen.
func (s *server) screenByName(c *Call) (any, error) {
	screen, err := s.Portal.ScreenByName(c.Ctx(), c.Param("name"))
	if err != nil {
		return nil, err
	}
	return screen, nil
}

// allScreens is the fork's list with a search.
func (s *server) allScreens(c *Call) (any, error) {
	match, err := portal.ParsePatterns(c.Query("q"), false)
	if err != nil {
		return nil, err
	}
	limit, offset, err := c.page()
	if err != nil {
		return nil, err
	}
	return s.Portal.Screens(c.Ctx(), match, limit, offset)
}

// updateScreen renames a screen or moves it; what is not sent stays.
func (s *server) updateScreen(c *Call) (any, error) {
	var in screenInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	old, err := s.screenOfPath(c)
	if err != nil {
		return nil, err
	}
	screen := *old
	if sent := c.gin.Request.PostForm["pid"]; len(sent) > 0 && sent[0] == "" {
		in.PID = nil // a form's empty field is none
	}
	if in.PID != nil {
		screen.PID = *in.PID
	}
	if in.Name != nil && *in.Name != "" {
		screen.Name = *in.Name
	}
	c.Before(old)
	c.Audit(screen.ID, screen)
	if err := s.Portal.UpdateScreen(c.Ctx(), screen); err != nil {
		return nil, err
	}
	return "ok", nil
}

func (s *server) deleteScreen(c *Call) (any, error) {
	screen, err := s.screenOfPath(c)
	if err != nil {
		return nil, err
	}
	c.Before(screen)
	c.Audit(screen.ID, nil)
	if err := s.Portal.DeleteScreen(c.Ctx(), screen.ID); err != nil {
		return nil, err
	}
	return "ok", nil
}

// --- graphs of screens ---------------------------------------------------------------

// widgetInput has pointers for what may be set to zero by saying so.
type widgetInput struct {
	Screen     int64     `json:"screen_id" form:"screen_id" xml:"screen_id"`
	Title      string    `json:"title" form:"title" xml:"title"`
	Endpoints  *[]string `json:"endpoints" form:"endpoints" xml:"endpoints"`
	Counters   *[]string `json:"counters" form:"counters" xml:"counters"`
	Timespan   int64     `json:"timespan" form:"timespan" xml:"timespan"`
	Type       string    `json:"graph_type" form:"graph_type" xml:"graph_type"`
	Method     *string   `json:"method" form:"method" xml:"method"`
	Position   *int64    `json:"position" form:"position" xml:"position"`
	FalconTags *string   `json:"falcon_tags" form:"falcon_tags" xml:"falcon_tags"`
}

// over puts what was sent over a graph. Stock takes zero for not sent; here that is so
// only where zero would make no sense.
func (in *widgetInput) over(w *portal.Widget) {
	if in.Screen != 0 {
		w.Screen = in.Screen
	}
	if in.Title != "" {
		w.Title = in.Title
	}
	if in.Endpoints != nil && len(*in.Endpoints) > 0 {
		w.Endpoints = *in.Endpoints
	}
	if in.Counters != nil && len(*in.Counters) > 0 {
		w.Counters = *in.Counters
	}
	if in.Timespan != 0 {
		w.Timespan = in.Timespan
	}
	if in.Type != "" {
		w.Type = in.Type
	}
	if in.Method != nil {
		w.Method = *in.Method
	}
	if in.Position != nil {
		w.Position = *in.Position
	}
	if in.FalconTags != nil {
		w.FalconTags = *in.FalconTags
	}
}

type widgetID struct {
	ID int64 `json:"id"`
}

func (s *server) createWidget(c *Call) (any, error) {
	var in widgetInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	switch {
	case in.Screen == 0:
		return nil, badField("screen_id", "screen_id is required")
	case in.Title == "":
		return nil, badField("title", "title is required")
	case in.Endpoints == nil:
		return nil, badField("endpoints", "endpoints is required")
	case in.Counters == nil:
		return nil, badField("counters", "counters is required")
	}
	w := portal.Widget{Timespan: portal.DefaultTimespan, Type: "h"}
	in.over(&w)
	var err error
	if w.ID, err = s.Portal.CreateWidget(c.Ctx(), w); err != nil {
		return nil, err
	}
	c.Audit(w.ID, w)
	return widgetID{w.ID}, nil
}

// widgetOfPath reads the graph of :id.
func (s *server) widgetOfPath(c *Call) (*portal.Widget, error) {
	return ofPath(c, "id", "a graph", s.Portal.Widget)
}

func (s *server) updateWidget(c *Call) (any, error) {
	var in widgetInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	old, err := s.widgetOfPath(c)
	if err != nil {
		return nil, err
	}
	w := *old
	in.over(&w)
	c.Before(old)
	c.Audit(w.ID, w)
	if err := s.Portal.UpdateWidget(c.Ctx(), w); err != nil {
		return nil, err
	}
	return widgetID{w.ID}, nil
}

func (s *server) widget(c *Call) (any, error) {
	w, err := s.widgetOfPath(c)
	if err != nil {
		return nil, err
	}
	return w, nil
}

func (s *server) deleteWidget(c *Call) (any, error) {
	w, err := s.widgetOfPath(c)
	if err != nil {
		return nil, err
	}
	c.Before(w)
	c.Audit(w.ID, nil)
	if err := s.Portal.DeleteWidget(c.Ctx(), w.ID); err != nil {
		return nil, err
	}
	return widgetID{w.ID}, nil
}

func (s *server) widgets(c *Call) (any, error) {
	id, err := c.id("screen_id", "a screen")
	if err != nil {
		return nil, err
	}
	limit, err := c.positive("limit", screenLimit)
	if err != nil {
		return nil, err
	}
	return s.Portal.Widgets(c.Ctx(), id, limit)
}

// --- charts by link ------------------------------------------------------------------

func (s *server) saveTmpGraph(c *Call) (any, error) {
	var in struct {
		Endpoints *[]string `json:"endpoints" form:"endpoints" xml:"endpoints"`
		Counters  *[]string `json:"counters" form:"counters" xml:"counters"`
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	if in.Endpoints == nil {
		return nil, badField("endpoints", "endpoints is required")
	}
	if in.Counters == nil {
		return nil, badField("counters", "counters is required")
	}
	g := portal.TmpGraph{Endpoints: *in.Endpoints, Counters: *in.Counters}
	id, made, err := s.Portal.SaveTmpGraph(c.Ctx(), g)
	if err != nil {
		return nil, err
	}
	if !made {
		c.Unchanged()
	}
	c.Audit(id, g)
	return widgetID{id}, nil
}

func (s *server) tmpGraph(c *Call) (any, error) {
	id, err := c.id("id", "a chart")
	if err != nil {
		return nil, err
	}
	g, err := s.Portal.TmpGraph(c.Ctx(), id)
	if err != nil {
		return nil, err
	}
	return g, nil
}
