package v1

import (
	"context"
	"encoding/json"
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
	if c.after != nil {
		if b, err := json.Marshal(c.after); err == nil {
			text := string(b)
			line.After = &text
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Ctx()), 5*time.Second)
	defer cancel()
	if err := s.Portal.AddOperLog(ctx, line); err != nil {
		s.Log.Warn("audit line not stored", "user", line.User, "ip", line.RemoteIP, "op", line.Op, "object", line.Object, "id", line.ObjectID, "err", err)
	}
}
