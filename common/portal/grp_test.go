package portal

import (
	"errors"
	"strings"
	"testing"
)

func TestCreateGroup(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		id := must[int64](t)(db.CreateGroup(t.Context(), "all", "root"))
		if n := count(t, db.Portal, "grp WHERE id = ? AND grp_name = 'all' AND create_user = 'root'", id); n != 1 {
			t.Errorf("%d rows of group %d", n, id)
		}
		if _, err := db.CreateGroup(t.Context(), "ALL", "root"); !errors.Is(err, ErrExists) {
			t.Errorf("a second one: %v", err)
		}
		if _, err := db.CreateGroup(t.Context(), strings.Repeat("x", 256), "root"); err == nil {
			t.Error("a name that is too long was taken")
		}
	})
}
