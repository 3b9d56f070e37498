package sender

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/wneessen/go-mail"
)

// mailer sends through one mail server.
type mailer struct {
	host    string
	from    string
	options []mail.Option
}

// mailTimeout bounds a conversation with the server as a whole.
const mailTimeout = 30 * time.Second

func newMail(config string) (Sender, error) {
	var c struct {
		Server     string `json:"server"`
		TLS        string `json:"tls"`
		User       string `json:"user"`
		Password   string `json:"password"`
		From       string `json:"from"`
		SkipVerify bool   `json:"skip_verify"`
	}
	if err := decode(config, &c); err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(c.Server)
	if err != nil || host == "" {
		return nil, fmt.Errorf("config: server %q is no address, write mail.example.com:587", c.Server)
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 1 || n > 65535 {
		return nil, fmt.Errorf("config: the port of server %q is none from 1 to 65535", c.Server)
	}
	if c.From == "" {
		return nil, errors.New("config: from is empty, write the address that mails come from")
	}
	if err := mail.NewMsg().From(c.From); err != nil {
		return nil, fmt.Errorf("config: from %q is no mail address", c.From)
	}
	m := &mailer{host: host, from: c.From, options: []mail.Option{mail.WithPort(n), mail.WithTimeout(mailTimeout),
		// #nosec G402 -- the operator may say that a server's certificate is not looked at.
		mail.WithTLSConfig(&tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, InsecureSkipVerify: c.SkipVerify})}}
	switch c.TLS {
	case "", "none":
		m.options = append(m.options, mail.WithTLSPolicy(mail.NoTLS))
	case "starttls":
		m.options = append(m.options, mail.WithTLSPolicy(mail.TLSMandatory))
	case "tls":
		m.options = append(m.options, mail.WithSSL())
	default:
		return nil, fmt.Errorf(`config: tls is %q, write "none", "starttls" or "tls"`, c.TLS)
	}
	if c.User != "" {
		m.options = append(m.options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(c.User), mail.WithPassword(c.Password))
	}
	if _, err := mail.NewClient(m.host, m.options...); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return m, nil
}

// Send tells each address by one mail.
func (m *mailer) Send(ctx context.Context, msg Message) (string, error) {
	if len(msg.To) == 0 {
		return "", errNobody
	}
	out := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := errors.Join(out.From(m.from), out.To(msg.To...)); err != nil {
		return "", err
	}
	out.Subject(oneLine(msg.Short))
	out.SetDate()
	if msg.ID != "" {
		out.SetMessageIDWithValue(msg.ID + "@" + m.host)
	}
	out.SetBodyString(mail.TypeTextPlain, msg.Text())
	// A client is one conversation: it keeps its connection.
	c, err := mail.NewClient(m.host, m.options...)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	err = c.DialAndSendWithContext(ctx, out)
	if err != nil && out.IsDelivered() {
		return clipped(out.ServerResponse()), nil // it is the parting that failed
	}
	if se, ok := errors.AsType[*mail.SendError](err); ok && se.Reason == mail.ErrSMTPDataClose && se.ErrorCode() == 0 {
		err = mayHaveCome{err}
	}
	if errors.Is(err, mail.ErrNoSupportedAuthDiscovered) {
		err = fmt.Errorf(`%w: without tls a password is not sent in the clear, write "starttls" or "tls"`, err)
	}
	return clipped(out.ServerResponse()), err
}
