package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"falcon/common/portal"
	"falcon/modules/api"
)

// passwd gives a user a new password and ends the sessions of the old one. The
// password is the first line of standard input; at a terminal, or when that line is
// empty, one is made up and printed.
func passwd(ctx context.Context, c *cli, args []string) (err error) {
	cfg, rest, err := configured(c, "passwd", args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		fmt.Fprintln(c.stderr, "falcon passwd: name one user, such as: falcon passwd root")
		return errUsage
	}
	cfg = cfg.Wired()
	password := ""
	if f, ok := c.stdin.(*os.File); !ok || !isTerminal(f) {
		line, err := bufio.NewReader(c.stdin).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		password = strings.TrimRight(line, "\r\n")
	}
	made := password == ""
	if made {
		password = rand.Text()[:20]
	}
	db, err := portal.Open(ctx, cfg.API.Portal(), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.Migrate(ctx); err != nil {
		return err
	}
	if err := api.SetPassword(ctx, db, cfg.API.Hasher(), cfg.API.PasswordHash, rest[0], password); err != nil {
		return err
	}
	if made {
		fmt.Fprintf(c.stdout, "the new password of %s is %s\n", rest[0], password)
		return nil
	}
	fmt.Fprintf(c.stdout, "the password of %s is changed\n", rest[0])
	return nil
}

func isTerminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}
