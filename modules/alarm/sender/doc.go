// Package sender speaks to those who carry a message to people: mail servers, chat and
// SMS gateways, webhooks.
//
//	s, err := sender.New("mail", `{"server":"mail:587","tls":"starttls","from":"falcon@example.com"}`, log)
//	answer, err := s.Send(ctx, sender.Message{To: []string{"ann@example.com"}, Short: "…", Body: "…"})
//
// A Send is one try. Trying again, remembering what was said, and whom to tell are the
// caller's. The kinds of address are Address's.
package sender
