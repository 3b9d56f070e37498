package upgrade

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"aead.dev/minisign"

	"falcon/common/run"
)

// ParseKey reads a public key of minisign: the text of a .pub file, or its last line.
func ParseKey(text string) (key minisign.PublicKey, err error) {
	if err := key.UnmarshalText([]byte(strings.TrimSpace(text))); err != nil {
		return key, fmt.Errorf("%q is no public key of minisign, write the last line of its .pub file: %w", text, err)
	}
	return key, nil
}

// sums returns the checksums of a file in hex.
func sums(path string) (md5sum, sha256sum string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	m, s := md5.New(), sha256.New()
	if _, err := io.Copy(io.MultiWriter(m, s), f); err != nil {
		return "", "", err
	}
	return hex.EncodeToString(m.Sum(nil)), hex.EncodeToString(s.Sum(nil)), nil
}

// MD5 returns the MD5 of a file in hex; empty when it can not be read.
func MD5(path string) string {
	sum, _, err := sums(path)
	if err != nil {
		return ""
	}
	return sum
}

// verify checks a signature over a file. The kind that minisign makes since 2022 is
// checked as the file is read; the older one needs it whole.
func verify(path, signature string, key minisign.PublicKey) error {
	var sig minisign.Signature
	if err := sig.UnmarshalText([]byte(signature)); err != nil {
		return fmt.Errorf("the signature can not be read: %w", err)
	}
	if sig.KeyID != key.ID() {
		return fmt.Errorf("the signature is by key %X, upgrade.public_key is %X", sig.KeyID, key.ID())
	}
	good := false
	if sig.Algorithm == minisign.HashEdDSA {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		r := minisign.NewReader(f)
		if _, err := io.Copy(io.Discard, r); err != nil {
			return err
		}
		good = r.Verify(key, []byte(signature))
	} else {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		good = minisign.Verify(key, b, []byte(signature))
	}
	if !good {
		return fmt.Errorf("the signature does not fit the file")
	}
	return nil
}

// tryTimeout bounds a run of the new program.
const tryTimeout = 10 * time.Second

// try runs a program and returns what it printed.
func try(ctx context.Context, dir, program string, args ...string) (string, error) {
	for n := 0; ; n++ {
		out, err := tryOnce(ctx, dir, program, args...)
		if err == nil || !isBusy(err) || n == 20 || !run.Sleep(ctx, 50*time.Millisecond) {
			return out, err
		}
	}
}

func tryOnce(ctx context.Context, dir, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &head{&out}, &head{&errs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("it does not answer %s within %v", args[0], tryTimeout)
	case err != nil && errs.Len() > 0:
		return "", fmt.Errorf("%w: %s", err, strings.TrimSpace(errs.String()))
	case err != nil:
		return "", err
	}
	return strings.TrimSpace(out.String()), nil
}

// head keeps the first 4 KiB of what is written and swallows the rest.
type head struct{ b *bytes.Buffer }

func (t *head) Write(p []byte) (int, error) {
	if room := 4<<10 - t.b.Len(); room > 0 {
		t.b.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}
