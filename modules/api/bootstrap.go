package api

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"falcon/common/auth"
	"falcon/common/portal"
	v1 "falcon/modules/api/v1"
)

// RootName is the name of the first user.
const RootName = "root"

// EnsureRoot makes the user root, with a random password and the highest role,
// when the database has no user at all. The password is returned this once; created
// tells whether it was made now. kind is Config.PasswordHash.
func EnsureRoot(ctx context.Context, db *portal.DB, h *auth.Hasher, kind string) (password string, created bool, err error) {
	all, _, err := db.UserCounts(ctx)
	if err != nil || all > 0 {
		return "", false, err
	}
	password = rand.Text()[:20] // 100 bits
	hash, err := hashFor(ctx, db, h, kind, password)
	if err != nil {
		return "", false, err
	}
	_, err = db.CreateUser(ctx, portal.User{Name: RootName, Passwd: hash, CNName: RootName, Role: portal.RoleRoot})
	if errors.Is(err, portal.ErrExists) {
		return "", false, nil // another process was faster
	}
	if err != nil {
		return "", false, fmt.Errorf("create user %s: %w", RootName, err)
	}
	return password, true, nil
}

// SetPassword gives a user a new password and ends all his sessions. It makes the
// user root when that one is missing, so that nobody stays locked out. kind is
// Config.PasswordHash.
func SetPassword(ctx context.Context, db *portal.DB, h *auth.Hasher, kind, name, password string) error {
	hash, err := hashFor(ctx, db, h, kind, password)
	if err != nil {
		return err
	}
	u, err := db.UserByName(ctx, name)
	if errors.Is(err, portal.ErrNotFound) && name == RootName {
		_, err := db.CreateUser(ctx, portal.User{Name: RootName, Passwd: hash, CNName: RootName, Role: portal.RoleRoot})
		return err
	}
	if err != nil {
		return fmt.Errorf("user %q: %w", name, err)
	}
	if err := db.SetUserPassword(ctx, u.ID, hash); err != nil {
		return fmt.Errorf("user %q: %w", name, err)
	}
	return db.DeleteSessions(ctx, u.ID, "")
}

// hashFor makes a hash of kind, or of the one that suits the database.
func hashFor(ctx context.Context, db *portal.DB, h *auth.Hasher, kind, password string) (string, error) {
	if kind == "" {
		var err error
		if kind, err = v1.HashKind(ctx, db); err != nil {
			return "", err
		}
	}
	return h.Hash(ctx, kind, password)
}
