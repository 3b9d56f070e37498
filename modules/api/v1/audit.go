package v1

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"falcon/common/portal"
)

// audit writes the line of a request that has changed something. The change is
// done: when the line can not be written, that is said in the log, with the line.
func (s *server) audit(c *Call, at time.Time) {
	line := portal.OperLog{
		At: at, User: c.Caller.Name, Source: "api", RemoteIP: c.IP(),
		Object: c.route.Object, ObjectID: c.object, Op: c.route.Verb,
	}
	if c.Caller.Cookie {
		line.Source = "page"
	}
	line.Before, line.After = auditJSON(c.before), auditJSON(c.after)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Ctx()), 5*time.Second)
	defer cancel()
	if err := s.Portal.AddOperLog(ctx, line); err != nil {
		s.Log.Warn("audit line not stored", "user", line.User, "ip", line.RemoteIP, "op", line.Op, "object", line.Object, "id", line.ObjectID, "err", err)
	}
}

// maxAudit bounds one side of a line, in bytes: a list of a hundred thousand hosts is
// no help to a reader.
const maxAudit = 64 << 10

// auditJSON writes what an audit line shows; nil for nothing.
func auditJSON(v any) *string {
	if v == nil {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	text := string(b)
	if len(b) > maxAudit {
		text = fmt.Sprintf(`{"too_long":%d}`, len(b))
	}
	return &text
}
