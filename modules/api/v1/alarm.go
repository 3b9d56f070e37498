package v1

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"falcon/common/portal"
)

// withAlarms is a handler that needs the database alarms.
func withAlarms(h func(*server, *Call) (any, error)) func(*server, *Call) (any, error) {
	return func(s *server, c *Call) (any, error) {
		if s.Portal.Alarms == nil {
			return nil, &Error{Status: http.StatusServiceUnavailable, Text: "this api has no database of alarms: set db.alarms in its configuration"}
		}
		return h(s, c)
	}
}

// caseRow is stock's case object. What its column does not know is zero, but for the
// times.
type caseRow struct {
	ID            string     `json:"id"`
	Endpoint      string     `json:"endpoint"`
	Metric        string     `json:"metric"`
	Func          string     `json:"func"`
	Cond          string     `json:"cond"`
	Note          string     `json:"note"`
	Step          int64      `json:"step"`
	CurrentStep   int64      `json:"current_step"`
	Priority      int        `json:"priority"`
	Status        string     `json:"status"`
	Timestamp     time.Time  `json:"timestamp"`
	UpdateAt      *time.Time `json:"update_at"`
	ClosedAt      *time.Time `json:"closed_at"`
	ClosedNote    string     `json:"closed_note"`
	UserModified  int64      `json:"user_modified"`
	TplCreator    string     `json:"tpl_creator"`
	ExpressionID  int64      `json:"expression_id"`
	StrategyID    int64      `json:"strategy_id"`
	TemplateID    int64      `json:"template_id"`
	ProcessNote   int64      `json:"process_note"`
	ProcessStatus string     `json:"process_status"`

	// AckedBy works on the problem since AckedAt, or did until it was over; they are not
	// stock's. Empty and null: nobody.
	AckedBy string     `json:"acked_by"`
	AckedAt *time.Time `json:"acked_at"`
}

// or returns what p points to, or the zero value.
func or[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// local shows a time of alarms with the offset of this machine, as stock does.
func local(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	l := t.Local()
	return &l
}

func caseOf(e *portal.EventCase) caseRow {
	return caseRow{
		ID: e.ID, Endpoint: e.Endpoint, Metric: e.Metric, Func: or(e.Func), Cond: e.Cond, Note: or(e.Note), Step: or(e.MaxStep), CurrentStep: or(e.CurrentStep),
		Priority: e.Priority, Status: e.Status, Timestamp: e.Timestamp.Local(), UpdateAt: local(e.UpdateAt), ClosedAt: local(e.ClosedAt), ClosedNote: or(e.ClosedNote),
		UserModified: or(e.UserModified), TplCreator: or(e.TplCreator), ExpressionID: or(e.ExpressionID), StrategyID: or(e.StrategyID), TemplateID: or(e.TemplateID),
		ProcessNote: or(e.ProcessNote), ProcessStatus: or(e.ProcessStatus), AckedBy: e.AckedBy, AckedAt: local(e.AckedAt),
	}
}

// span is a time of rows, in Unix seconds; 0 is open.
type span struct {
	Start int64 `json:"startTime" form:"startTime" xml:"startTime"`
	End   int64 `json:"endTime" form:"endTime" xml:"endTime"`
}

func (s *span) times() (start, end time.Time) {
	if s.Start > 0 {
		start = time.Unix(s.Start, 0)
	}
	if s.End > 0 {
		end = time.Unix(s.End, 0)
	}
	return start, end
}

// eventCases lists cases, the newest first. The texts of its errors are stock's.
func (s *server) eventCases(c *Call) (any, error) {
	var in struct {
		span
		Priority      *int     `json:"priority" form:"priority" xml:"priority"`
		Status        string   `json:"status" form:"status" xml:"status"`
		ProcessStatus string   `json:"process_status" form:"process_status" xml:"process_status"`
		Metrics       string   `json:"metrics" form:"metrics" xml:"metrics"`
		ID            string   `json:"event_id" form:"event_id" xml:"event_id"`
		Endpoints     []string `json:"endpoints" form:"endpoints" xml:"endpoints"`
		Brackets      []string `json:"-" form:"endpoints[]" xml:"-"` // as some forms write a list
		Strategy      int64    `json:"strategy_id" form:"strategy_id" xml:"strategy_id"`
		Template      int64    `json:"template_id" form:"template_id" xml:"template_id"`
		Limit         int      `json:"limit" form:"limit" xml:"limit"`
		Page          int      `json:"page" form:"page" xml:"page"`
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	in.Endpoints = append(in.Endpoints, in.Brackets...)
	if in.Start == 0 && in.End == 0 && in.ID == "" && len(in.Endpoints) == 0 && in.Strategy == 0 && in.Template == 0 {
		return nil, bad("startTime, endTime, event_id, endpoints, strategy_id or template_id, You have to at least pick one on the request.")
	}
	if in.Limit < 0 || in.Page < 0 || in.Page > 0 && in.Limit == 0 {
		return nil, bad("page %d with limit %d: both are needed, and none below 0", in.Page, in.Limit)
	}
	f := portal.CaseFilter{
		Statuses: splitList(in.Status), ProcessStatuses: splitList(in.ProcessStatus), ID: in.ID, Endpoints: in.Endpoints,
		StrategyID: in.Strategy, TemplateID: in.Template, Limit: min(in.Limit, 50),
	}
	if f.Limit > 0 {
		f.Offset = f.Limit * (max(min(in.Page, 1<<30), 1) - 1)
	}
	f.Start, f.End = in.times()
	if in.Priority != nil && *in.Priority >= 0 {
		f.Priority = in.Priority
	}
	var err error
	if f.Metrics, err = portal.ParsePatterns(in.Metrics, false); err != nil {
		return nil, err
	}
	cases, err := s.Portal.EventCases(c.Ctx(), f)
	if err != nil {
		return nil, err
	}
	rows := make([]caseRow, len(cases))
	for i := range cases {
		rows[i] = caseOf(&cases[i])
	}
	return rows, nil
}

// fifty reads limit and page of the two lists below, whose pages have 50 rows at most.
func fifty(limit, page int) (n, offset int) {
	if limit <= 0 || limit >= 50 {
		limit = 50
	}
	return limit, limit * (max(min(page, 1<<30), 1) - 1)
}

// events lists the events of a case, the newest first.
func (s *server) events(c *Call) (any, error) {
	var in struct {
		span
		ID     string `json:"event_id" form:"event_id" xml:"event_id"`
		Status *int   `json:"status" form:"status" xml:"status"`
		Limit  int    `json:"limit" form:"limit" xml:"limit"`
		Page   int    `json:"page" form:"page" xml:"page"`
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	if err := required("event_id", in.ID); err != nil {
		return nil, err
	}
	status := -1
	if in.Status != nil {
		status = *in.Status
	}
	if status < -1 || status > 1 {
		return nil, bad("status %d is none of -1 (any), 0 (PROBLEM) and 1 (OK)", status)
	}
	limit, offset := fifty(in.Limit, in.Page)
	start, end := in.times()
	events, err := s.Portal.CaseEvents(c.Ctx(), in.ID, start, end, status, limit, offset)
	if err != nil {
		return nil, err
	}
	type row struct {
		ID        int64      `json:"id"`
		CaseID    string     `json:"event_caseId"`
		Step      int64      `json:"step"`
		Cond      string     `json:"cond"`
		Status    int        `json:"status"`
		Timestamp *time.Time `json:"timestamp"`
	}
	rows := make([]row, len(events))
	for i, e := range events {
		rows[i] = row{e.ID, e.CaseID, or(e.Step), e.Cond, e.Status, local(e.Timestamp)}
	}
	return rows, nil
}

// notes lists what people said about a case, or in a time, the newest first.
func (s *server) notes(c *Call) (any, error) {
	var in struct {
		span
		ID     string `json:"event_id" form:"event_id" xml:"event_id"`
		Status string `json:"status" form:"status" xml:"status"`
		Limit  int    `json:"limit" form:"limit" xml:"limit"`
		Page   int    `json:"page" form:"page" xml:"page"`
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	if in.ID == "" && in.Start == 0 && in.End == 0 {
		return nil, bad("event_id or startTime, endTime: one of them is required")
	}
	f := portal.NoteFilter{CaseID: in.ID, Status: in.Status}
	f.Limit, f.Offset = fifty(in.Limit, in.Page)
	f.Start, f.End = in.times()
	notes, err := s.Portal.EventNotes(c.Ctx(), f)
	if err != nil {
		return nil, err
	}
	ids := make([]int64, len(notes))
	for i, n := range notes {
		ids[i] = n.UserID
	}
	names, err := s.Portal.UserNames(c.Ctx(), ids)
	if err != nil {
		return nil, err
	}
	type row struct {
		CaseID    string     `json:"event_caseId"`
		Note      string     `json:"note"`
		Ticket    string     `json:"case_id"`
		Status    string     `json:"status"`
		Timestamp *time.Time `json:"timestamp"`
		User      string     `json:"user"`
	}
	rows := make([]row, len(notes))
	for i, n := range notes {
		rows[i] = row{n.CaseID, n.Note, n.Ticket, n.Status, local(n.Timestamp), names[n.UserID]}
	}
	return rows, nil
}

func (s *server) addNote(c *Call) (any, error) {
	var in struct {
		ID     string `json:"event_id" form:"event_id" xml:"event_id"`
		Note   string `json:"note" form:"note" xml:"note"`
		Status string `json:"status" form:"status" xml:"status"`
		Ticket string `json:"case_id" form:"case_id" xml:"case_id"`
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	if err := required("event_id", in.ID, "note", in.Note, "status", in.Status); err != nil {
		return nil, err
	}
	now := s.Now()
	n := portal.EventNote{CaseID: in.ID, Note: in.Note, Ticket: in.Ticket, Status: in.Status, Timestamp: &now}
	if c.Caller.User != nil {
		n.UserID = c.Caller.User.ID
	}
	c.Audit(in.ID, map[string]string{"note": in.Note, "status": in.Status})
	if _, err := s.Portal.AddEventNote(c.Ctx(), n); err != nil {
		return nil, err
	}
	return map[string]string{"id": in.ID, "message": fmt.Sprintf("add note to %s successfuled", in.ID)}, nil
}

// --- notices and the inbox -----------------------------------------------------------

// notices lists whom a case was told, and how that went, the newest first.
func (s *server) notices(c *Call) (any, error) {
	id := c.Query("case_id")
	if err := required("case_id", id); err != nil {
		return nil, err
	}
	limit, err := c.positive("limit", 200)
	if err != nil {
		return nil, err
	}
	notices, err := s.Portal.CaseNotices(c.Ctx(), id, min(limit, 2000))
	if err != nil {
		return nil, err
	}
	type row struct {
		ID       int64  `json:"id"`
		EventTS  int64  `json:"event_ts"`
		SendTS   int64  `json:"send_ts"`
		Status   string `json:"status"`
		Step     int    `json:"step"`
		ActionID int    `json:"action_id"`
		Receiver string `json:"receiver"`
		Channel  string `json:"channel"`
		Result   string `json:"result"`
		Attempts int    `json:"attempts"`
		Answer   string `json:"answer"`
	}
	rows := make([]row, len(notices))
	for i, n := range notices {
		rows[i] = row{n.ID, n.EventTS.Unix(), n.SendTS.Unix(), n.Status, n.Step, n.ActionID, n.Receiver, n.Channel, n.Result, n.Attempts, n.Answer}
	}
	return rows, nil
}

// inbox is a page of the messages to the caller.
func (s *server) inbox(c *Call) (any, error) {
	limit, err := c.positive("limit", 20)
	if err != nil {
		return nil, err
	}
	offset := 0
	if text := c.Query("offset"); text != "" {
		if offset, err = strconv.Atoi(text); err != nil || offset < 0 || offset > maxRows {
			return nil, bad("offset %q is no number from 0 to %d", text, maxRows)
		}
	}
	items, unread, err := s.Portal.Inbox(c.Ctx(), c.Caller.User.Name, min(limit, 200), offset)
	if err != nil {
		return nil, err
	}
	type row struct {
		ID       int64  `json:"id"`
		Created  int64  `json:"created"`
		ReadAt   int64  `json:"read_at"` // 0: not yet
		CaseID   string `json:"case_id"`
		EventTS  int64  `json:"event_ts"`
		Endpoint string `json:"endpoint"`
		Metric   string `json:"metric"`
		Priority int    `json:"priority"`
		Status   string `json:"status"`
		Step     int    `json:"step"`
		Channel  string `json:"channel"`
	}
	rows := make([]row, len(items))
	for i, m := range items {
		rows[i] = row{m.InboxID, m.Created.Unix(), 0, m.CaseID, m.EventTS.Unix(), m.Endpoint, m.Metric, m.Priority, m.Notice.Status, m.Step, cmp.Or(m.Channel, "inbox")}
		if m.ReadAt != nil {
			rows[i].ReadAt = m.ReadAt.Unix()
		}
	}
	return map[string]any{"unread": unread, "items": rows}, nil
}

// readInbox marks messages to the caller as read, all of them when none is named.
func (s *server) readInbox(c *Call) (any, error) {
	var in struct {
		IDs []int64 `json:"ids" form:"ids" xml:"ids"`
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	c.Audit(c.Caller.User.Name, in)
	if err := s.Portal.ReadInbox(c.Ctx(), c.Caller.User.Name, s.Now(), in.IDs...); err != nil {
		return nil, err
	}
	_, unread, err := s.Portal.Inbox(c.Ctx(), c.Caller.User.Name, 1, 0)
	if err != nil {
		return nil, err
	}
	return map[string]int{"unread": unread}, nil
}
