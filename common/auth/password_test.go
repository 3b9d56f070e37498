package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// cheap is a Hasher for tests: 8 KiB, one pass.
func cheap(salt string) *Hasher {
	return NewHasher(Options{Salt: salt, Cost: Cost{LogKiB: 3, Passes: 1, Lanes: 1}, Concurrent: 1})
}

func TestHashAndVerify(t *testing.T) {
	ctx, h := t.Context(), cheap("")
	mine, err := h.Hash(ctx, Argon2id, "abc")
	if err != nil {
		t.Fatal(err)
	}
	if len(mine) != 63 || !strings.HasPrefix(mine, "a2$AwEB$") {
		t.Errorf("Hash = %q with %d characters, want a2$AwEB$… with 63", mine, len(mine))
	}
	again, _ := h.Hash(ctx, Argon2id, "abc")
	if again == mine {
		t.Error("two hashes of one password are equal: the salt is not random")
	}
	const fixed = "a2$AwEB$AAECAwQFBgcICQoLDA0ODw$"
	for _, tc := range []struct {
		name, stored, password string
		want                   bool
	}{
		{"ours", mine, "abc", true},
		{"ours, wrong", mine, "abd", false},
		{"stock", "900150983cd24fb0d6963f7d28e17f72", "abc", true},
		{"stock in capitals", "900150983CD24FB0D6963F7D28E17F72", "abc", true},
		{"stock, wrong", "900150983cd24fb0d6963f7d28e17f72", "abd", false},
		{"nothing stored", "", "abc", false},
		{"nothing given", mine, "", false},
		{"nothing at all", "", "", false},
		{"too long", mine, strings.Repeat("x", 1025), false},
		{"cut", mine[:62], "abc", false},
		{"a field more", mine + "$", "abc", false},
		{"more memory than allowed", "a2$" + "FAEB" + mine[7:], "abc", false},
		{"no passes", "a2$" + "AwAB" + mine[7:], "abc", false},
		{"no base64", "a2$" + "A*EB" + mine[7:], "abc", false},
		{"other salt", fixed + mine[31:], "abc", false},
	} {
		if got, err := h.Verify(ctx, tc.stored, tc.password); got != tc.want || err != nil {
			t.Errorf("%s: Verify(%q, %q) = %v, %v, want %v", tc.name, tc.stored, tc.password, got, err, tc.want)
		}
	}
}

// The parameters stand in the hash: another Hasher checks it all the same.
func TestHashesDescribeThemselves(t *testing.T) {
	ctx := t.Context()
	costly := NewHasher(Options{Cost: Cost{LogKiB: 6, Passes: 2, Lanes: 2}})
	hash, err := costly.Hash(ctx, Argon2id, "pw")
	if err != nil {
		t.Fatal(err)
	}
	h := cheap("")
	if ok, err := h.Verify(ctx, hash, "pw"); !ok || err != nil {
		t.Errorf("Verify = %v, %v, want true", ok, err)
	}
	for _, tc := range []struct {
		kind, stored string
		want         bool
	}{
		{Argon2id, hash, true}, // another cost
		{MD5, hash, false},
		{Argon2id, "900150983cd24fb0d6963f7d28e17f72", true},
		{MD5, "900150983cd24fb0d6963f7d28e17f72", false},
	} {
		if got := h.Outdated(tc.kind, tc.stored); got != tc.want {
			t.Errorf("Outdated(%s, %q) = %v, want %v", tc.kind, tc.stored, got, tc.want)
		}
	}
	if costly.Outdated(Argon2id, hash) {
		t.Error("a fresh hash is outdated")
	}
}

func TestStocksHash(t *testing.T) {
	h := cheap("salt")
	got, err := h.Hash(t.Context(), MD5, "pw1")
	if err != nil || !IsStock(got) {
		t.Errorf("Hash = %q, %v, want 32 hex digits", got, err)
	}
	if got == must(cheap("").Hash(t.Context(), MD5, "pw1")) {
		t.Error("the salt changes nothing")
	}
	if empty := must(cheap("").Hash(t.Context(), MD5, "abc")); empty != "900150983cd24fb0d6963f7d28e17f72" {
		t.Errorf("MD5 of abc without a salt = %s", empty)
	}
	for s, want := range map[string]bool{"": false, "x": false, got: true, strings.Repeat("z", 32): false, strings.Repeat("a", 63): false} {
		if IsStock(s) != want {
			t.Errorf("IsStock(%q) = %v, want %v", s, !want, want)
		}
	}
}

func must(s string, err error) string {
	if err != nil {
		panic(err)
	}
	return s
}

func TestHashRefuses(t *testing.T) {
	h := cheap("")
	for _, tc := range []struct{ kind, password, err string }{
		{Argon2id, "", "a password has 1 to 1024 bytes"},
		{MD5, strings.Repeat("x", 1025), "a password has 1 to 1024 bytes"},
		{"bcrypt", "x", `password_hash: "bcrypt" is unknown, use "argon2id" or "md5"`},
	} {
		if _, err := h.Hash(t.Context(), tc.kind, tc.password); fmt.Sprint(err) != tc.err {
			t.Errorf("Hash(%s): got %v, want %s", tc.kind, err, tc.err)
		}
	}
}

// When all slots are taken a caller waits, no longer than its context.
func TestHashingIsBounded(t *testing.T) {
	h := cheap("")
	h.slots <- struct{}{} // somebody else is hashing
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Hash(ctx, Argon2id, "pw"); !errors.Is(err, context.Canceled) {
		t.Errorf("Hash without a slot: got %v, want context.Canceled", err)
	}
	<-h.slots
	if _, err := h.Hash(t.Context(), Argon2id, "pw"); err != nil {
		t.Errorf("Hash with a slot: %v", err)
	}
}

// Whatever stands in the database, a check ends soon and says no.
func FuzzVerify(f *testing.F) {
	for _, s := range []string{"", "a2$", "a2$AwEB$AAECAwQFBgcICQoLDA0ODw$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "a2$$$", "900150983cd24fb0d6963f7d28e17f72"} {
		f.Add(s)
	}
	h := cheap("")
	f.Fuzz(func(t *testing.T, stored string) {
		if c, _, _, ok := parse(stored); ok && c.LogKiB > 6 {
			return // correct, and slow
		}
		if ok, err := h.Verify(t.Context(), stored, "a password nobody has"); ok || err != nil {
			t.Errorf("Verify(%q) = %v, %v", stored, ok, err)
		}
	})
}
