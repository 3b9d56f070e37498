package auth

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Kinds of hashes, as in the config key password_hash.
const (
	Argon2id = "argon2id"
	MD5      = "md5"
)

// MaxPassword is how long a password may be, in bytes.
const MaxPassword = 1024

// ErrPassword refuses a password that can not be used as a new one.
var ErrPassword = errors.New("a password has 1 to 1024 bytes")

const (
	argonPrefix = "a2$"
	saltBytes   = 16
	hashBytes   = 24

	// Bounds of the parameters that are read from the database, so that a row
	// can not make a login take all memory: 256 MiB, 16 passes, 16 lanes.
	maxLogKiB, maxPasses, maxLanes = 18, 16, 16
)

// Cost is what one argon2id hash costs.
type Cost struct {
	LogKiB uint8 // the memory is 2^LogKiB KiB; 3 at least
	Passes uint8
	Lanes  uint8
}

// DefaultCost is 32 MiB and two passes on one lane: some 50 ms.
func DefaultCost() Cost { return Cost{LogKiB: 15, Passes: 2, Lanes: 1} }

// Options say how a Hasher works. Zero fields have the defaults given.
type Options struct {
	// Salt is stock's global salt, which goes before the password in MD5.
	Salt string
	// Cost of new argon2id hashes. Default DefaultCost.
	Cost Cost
	// Concurrent is how many hashes are computed at the same time; others wait.
	// Times the memory of Cost it is what logins can take. Default 2.
	Concurrent int
}

// A Hasher makes and checks password hashes. It is safe for concurrent use.
type Hasher struct {
	opts  Options
	slots chan struct{}
}

// NewHasher returns a Hasher.
func NewHasher(opts Options) *Hasher {
	if opts.Cost == (Cost{}) {
		opts.Cost = DefaultCost()
	}
	if opts.Concurrent <= 0 {
		opts.Concurrent = 2
	}
	return &Hasher{opts: opts, slots: make(chan struct{}, opts.Concurrent)}
}

// Hash returns a new hash of password of the given kind. It fails with
// ErrPassword, for an unknown kind, and when ctx ends before its turn comes.
func (h *Hasher) Hash(ctx context.Context, kind, password string) (string, error) {
	if password == "" || len(password) > MaxPassword {
		return "", ErrPassword
	}
	switch kind {
	case MD5:
		return h.md5(password), nil
	case Argon2id:
		var salt [saltBytes]byte
		rand.Read(salt[:]) // never fails
		sum, err := h.argon2id(ctx, h.opts.Cost, salt[:], password)
		if err != nil {
			return "", err
		}
		c := h.opts.Cost
		b64 := base64.RawStdEncoding.EncodeToString
		return argonPrefix + b64([]byte{c.LogKiB, c.Passes, c.Lanes}) + "$" + b64(salt[:]) + "$" + b64(sum), nil
	}
	return "", fmt.Errorf("password_hash: %q is unknown, use %q or %q", kind, Argon2id, MD5)
}

// Verify says whether password is the one that stored was made of, in time that
// does not depend on where they differ. A stored text that is no hash matches
// nothing. It fails only when ctx ends before its turn comes.
func (h *Hasher) Verify(ctx context.Context, stored, password string) (bool, error) {
	if password == "" || len(password) > MaxPassword {
		return false, nil
	}
	if !strings.HasPrefix(stored, argonPrefix) {
		same := subtle.ConstantTimeCompare([]byte(h.md5(password)), []byte(strings.ToLower(stored)))
		return same == 1, nil
	}
	cost, salt, want, ok := parse(stored)
	if !ok {
		return false, nil
	}
	got, err := h.argon2id(ctx, cost, salt, password)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}

// Outdated says whether stored should be made anew, now that its password is at
// hand, to be a hash of kind: one of stock's is, when argon2id is wanted, and one
// of another cost. An argon2id hash is never turned back into MD5.
func (h *Hasher) Outdated(kind, stored string) bool {
	if kind != Argon2id {
		return false
	}
	cost, _, _, ok := parse(stored)
	return !ok || cost != h.opts.Cost
}

// IsStock says whether stored is a hash that stock can check.
func IsStock(stored string) bool {
	if len(stored) != 2*md5.Size {
		return false
	}
	_, err := hex.DecodeString(stored)
	return err == nil
}

func (h *Hasher) md5(password string) string {
	sum := md5.Sum([]byte(h.opts.Salt + password))
	return hex.EncodeToString(sum[:])
}

// argon2id computes a hash when a slot is free.
func (h *Hasher) argon2id(ctx context.Context, c Cost, salt []byte, password string) ([]byte, error) {
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait to check a password: %w", ctx.Err())
	}
	defer func() { <-h.slots }()
	return argon2.IDKey([]byte(password), salt, uint32(c.Passes), 1<<c.LogKiB, c.Lanes, hashBytes), nil
}

// parse reads an argon2id hash.
func parse(stored string) (c Cost, salt, sum []byte, ok bool) {
	rest, ok := strings.CutPrefix(stored, argonPrefix)
	fields := strings.Split(rest, "$")
	if !ok || len(fields) != 3 {
		return Cost{}, nil, nil, false
	}
	want := [3]int{3, saltBytes, hashBytes}
	var raw [3][]byte
	for i, f := range fields {
		b, err := base64.RawStdEncoding.DecodeString(f)
		if err != nil || len(b) != want[i] {
			return Cost{}, nil, nil, false
		}
		raw[i] = b
	}
	c = Cost{raw[0][0], raw[0][1], raw[0][2]}
	if c.LogKiB < 3 || c.LogKiB > maxLogKiB || c.Passes < 1 || c.Passes > maxPasses || c.Lanes < 1 || c.Lanes > maxLanes {
		return Cost{}, nil, nil, false
	}
	return c, raw[1], raw[2], true
}
