package portal

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
)

// Roles of users, as stock numbers them. Admins are RoleAdmin and above.
const (
	RoleBlocked = -1
	RoleNormal  = 0
	RoleAdmin   = 1
	RoleRoot    = 2
)

// User is a row of user. Its JSON is stock's user object (contract query 2.4.1):
// the password never leaves.
type User struct {
	ID      int64     `db:"id" json:"id"`
	Name    string    `db:"name" json:"name"`
	CNName  string    `db:"cnname" json:"cnname"`
	Email   string    `db:"email" json:"email"`
	Phone   string    `db:"phone" json:"phone"`
	IM      string    `db:"im" json:"im"`
	QQ      string    `db:"qq" json:"qq"`
	Role    int       `db:"role" json:"role"`
	Passwd  string    `db:"passwd" json:"-"` // a hash
	Creator int64     `db:"creator" json:"-"`
	Created time.Time `db:"created" json:"-"`
}

// Admin says whether the user is an admin or root.
func (u *User) Admin() bool { return u.Role >= RoleAdmin }

const userColumns = "id, name, cnname, email, phone, im, qq, role, passwd, creator, created"

// A Profile is what people may say about themselves.
type Profile struct {
	CNName string
	Email  string
	Phone  string
	IM     string
	QQ     string
}

// check says which field a column can not hold.
func (p *Profile) check() error {
	for _, f := range []struct {
		name, value string
		max         int
	}{{"cnname", p.CNName, 128}, {"email", p.Email, 255}, {"phone", p.Phone, 16}, {"im", p.IM, 32}, {"qq", p.QQ, 16}} {
		if reason := fits(f.value, f.max); reason != "" {
			return invalid("%s %s", f.name, reason)
		}
	}
	return nil
}

// UserByID returns a user, or ErrNotFound. Id 0 is nobody's.
func (db *DB) UserByID(ctx context.Context, id int64) (*User, error) {
	return db.user(ctx, "id = ?", id)
}

// UserByName returns a user, or ErrNotFound. Case does not matter; the result
// holds the name as it was registered.
func (db *DB) UserByName(ctx context.Context, name string) (*User, error) {
	return db.user(ctx, "name = ?", name)
}

func (db *DB) user(ctx context.Context, where string, arg any) (*User, error) {
	var u User
	if err := db.UIC.read.GetContext(ctx, &u, "SELECT "+userColumns+" FROM user WHERE "+where, arg); err != nil {
		return nil, notFound(err)
	}
	return &u, nil
}

// Users returns the users whose names match, ordered by id. Limit 0 means all.
func (db *DB) Users(ctx context.Context, match []Pattern, limit, offset int) ([]User, error) {
	var where conditions
	where.patterns("name", match)
	query, args := "SELECT "+userColumns+" FROM user"+where.sql()+" ORDER BY id", where.args
	if limit > 0 {
		query, args = query+" LIMIT ? OFFSET ?", append(args, limit, max(offset, 0))
	}
	all := []User{}
	err := db.UIC.read.SelectContext(ctx, &all, db.UIC.limited(ctx, query), args...)
	return all, err
}

// UsersByName returns the users that have these names, ordered by id.
func (db *DB) UsersByName(ctx context.Context, names []string) ([]User, error) {
	all := []User{}
	for chunk := range slices.Chunk(names, maxMarks) {
		var rows []User
		if err := db.UIC.read.SelectContext(ctx, &rows, "SELECT "+userColumns+" FROM user WHERE name IN ("+marks(len(chunk))+")", anys(chunk)...); err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	slices.SortFunc(all, func(a, b User) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}

// UserNames returns the names of users by their ids.
func (db *DB) UserNames(ctx context.Context, ids []int64) (map[int64]string, error) {
	names := map[int64]string{}
	for chunk := range slices.Chunk(ids, maxMarks) {
		var rows []User
		if err := db.UIC.read.SelectContext(ctx, &rows, "SELECT "+userColumns+" FROM user WHERE id IN ("+marks(len(chunk))+")", anys(chunk)...); err != nil {
			return nil, err
		}
		for _, u := range rows {
			names[u.ID] = u.Name
		}
	}
	return names, nil
}

// UserCounts returns how many users there are, and how many of them have a
// password hash in stock's form (32 hexadecimal digits).
func (db *DB) UserCounts(ctx context.Context) (all, stock int, err error) {
	err = db.UIC.read.QueryRowxContext(ctx,
		"SELECT COUNT(*), COALESCE(SUM(CASE WHEN LENGTH(passwd) = 32 THEN 1 ELSE 0 END), 0) FROM user").Scan(&all, &stock)
	return all, stock, err
}

// CreateUser adds a user with the password hash of u and returns the new id. A
// name that is taken is ErrExists.
func (db *DB) CreateUser(ctx context.Context, u User) (int64, error) {
	if u.Name == "" {
		return 0, invalid("name is empty")
	}
	if reason := fits(u.Name, 64); reason != "" {
		return 0, invalid("name %s", reason)
	}
	if err := (&Profile{u.CNName, u.Email, u.Phone, u.IM, u.QQ}).check(); err != nil {
		return 0, err
	}
	var id int64
	err := db.UIC.Tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx,
			"INSERT INTO user (name, passwd, cnname, email, phone, im, qq, role, creator) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
			u.Name, u.Passwd, u.CNName, u.Email, u.Phone, u.IM, u.QQ, u.Role, u.Creator)
		if err != nil {
			return err
		}
		id, err = res.LastInsertId()
		return err
	})
	if isDuplicate(err) {
		return 0, ErrExists
	}
	return id, err
}

// UpdateUser overwrites the profile of a user.
func (db *DB) UpdateUser(ctx context.Context, id int64, p Profile) error {
	if err := p.check(); err != nil {
		return err
	}
	return db.setUser(ctx, id, "cnname = ?, email = ?, phone = ?, im = ?, qq = ?", p.CNName, p.Email, p.Phone, p.IM, p.QQ)
}

// SetUserRole changes the role of a user.
func (db *DB) SetUserRole(ctx context.Context, id int64, role int) error {
	return db.setUser(ctx, id, "role = ?", role)
}

// SetUserPassword stores a new password hash, 64 characters at most.
func (db *DB) SetUserPassword(ctx context.Context, id int64, hash string) error {
	if reason := fits(hash, 64); reason != "" {
		return invalid("password hash %s", reason)
	}
	return db.setUser(ctx, id, "passwd = ?", hash)
}

func (db *DB) setUser(ctx context.Context, id int64, set string, args ...any) error {
	return db.UIC.Tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, "UPDATE user SET "+set+" WHERE id = ?", append(args, id)...)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected() // of rows that matched, in both dialects
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		return err
	})
}

// DeleteUser removes a user, with the logins and team memberships that would
// otherwise go to whoever gets the id next.
func (db *DB) DeleteUser(ctx context.Context, id int64) error {
	return db.UIC.Tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, "DELETE FROM user WHERE id = ?", id)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			if err == nil {
				err = ErrNotFound
			}
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM session WHERE uid = ?", id); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "DELETE FROM rel_team_user WHERE uid = ?", id)
		return err
	})
}
