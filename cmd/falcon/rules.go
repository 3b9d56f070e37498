package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"falcon/common/portal"
	"falcon/modules/api"
)

// rules makes the template of the rules by which a fleet watches itself, for a portal that
// no falcon up has filled. hbs sees it within a minute.
func rules(ctx context.Context, c *cli, args []string) (err error) {
	cfg, rest, err := configured(c, "rules", args)
	if err != nil {
		return err
	}
	if len(rest) != 2 {
		fmt.Fprintln(c.stderr, "falcon rules: name the group of the hosts that run daemons, and the team that is told, such as: falcon rules falcon ops")
		return errUsage
	}
	cfg = cfg.Wired()
	db, err := portal.Open(ctx, cfg.API.Portal(), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.Migrate(ctx); err != nil {
		return err
	}
	made, err := api.EnsureSelfRules(ctx, db, rest[0], rest[1], true, time.Now())
	switch {
	case err != nil:
		return err
	case made:
		fmt.Fprintf(c.stdout, "template %s has %d rules for the hosts of group %s, and tells team %s\n", api.SelfTemplate, len(api.SelfRules), rest[0], rest[1])
	default:
		fmt.Fprintf(c.stdout, "there is a template %s already: it stays as it is; rename or delete it on the page for a new one\n", api.SelfTemplate)
	}
	return nil
}
