package du

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"falcon/modules/agent/collect"
)

// tree makes a folder with all that du has a rule for.
func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(dir, "a/b/c"), 0o755))
	must(os.WriteFile(filepath.Join(dir, "a/one"), make([]byte, 1000), 0o600))
	must(os.WriteFile(filepath.Join(dir, "a/b/empty"), nil, 0o600))
	must(os.Link(filepath.Join(dir, "a/one"), filepath.Join(dir, "a/b/c/same")))
	must(os.Symlink("/usr", filepath.Join(dir, "a/away"))) // four bytes, not a system
	must(os.Symlink("../..", filepath.Join(dir, "a/b/up")))
	sparse := filepath.Join(dir, "sparse")
	must(os.WriteFile(sparse, nil, 0o600))
	must(os.Truncate(sparse, 1<<33))
	for i := range 700 { // more than one look into the folder
		must(os.WriteFile(filepath.Join(dir, "a/b/c", strconv.Itoa(i)), []byte("x"), 0o600))
	}
	return dir
}

// The size is the one of du -bs, for folders, files and links. From coreutils 9.2 on du
// does not count the folders themselves any more.
func TestAsDu(t *testing.T) {
	dir := tree(t)
	du := func(path string) int64 {
		out, err := exec.Command("du", "-bs", path).Output()
		if err != nil {
			t.Skipf("no du here: %v", err)
		}
		n, err := strconv.ParseInt(strings.Fields(string(out))[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if du(t.TempDir()) == 0 {
		t.Skip("this du does not count folders")
	}
	for _, path := range []string{dir, dir + "/", filepath.Join(dir, "a/b"), filepath.Join(dir, "a/one"), filepath.Join(dir, "a/away"), filepath.Join(dir, "sparse")} {
		got, err := size(t.Context(), path)
		if want := du(path); err != nil || got != want {
			t.Errorf("%s: %d, %v; du says %d", path, got, err, want)
		}
	}
}

func TestCollect(t *testing.T) {
	dir := tree(t)
	root := collect.At(dir)
	c := New(root)
	if refused := c.Want([]string{"path=/a/one", "path=/a/none", "path= /a/b/empty ", "path=a", "path=/x=y", "path", "path=", "path=/a,b", "path=/x,y=/z"}); len(refused) != 6 {
		t.Errorf("refused %v", refused)
	}
	items, err := c.Collect(t.Context())
	var got []string
	for _, it := range items {
		got = append(got, fmt.Sprint(it))
	}
	want := []string{"{du.bs path=/a/one GAUGE 1000}", "{du.bs path=/a/none GAUGE -1}", "{du.bs path=/a/b/empty GAUGE 0}"}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got %v, want %v", got, want)
	}
	if err == nil || !strings.Contains(err.Error(), "du.bs of /a/none: ") {
		t.Errorf("error %v", err)
	}
	if os.Getuid() == 0 {
		return // root reads everything
	}
	if err := os.Chmod(filepath.Join(dir, "a/b"), 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(filepath.Join(dir, "a/b"), 0o755)
	if n, err := size(t.Context(), dir); err == nil {
		t.Errorf("a folder that can not be read: %d", n)
	}
}

// A walk that takes too long is -1; one in which the kernel hangs costs its own path
// only, and is not joined by a second one.
func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(collect.At("/"))
		release, walks := make(chan struct{}), make(chan string, 100)
		c.walk = func(ctx context.Context, path string) (int64, error) {
			walks <- path
			switch path {
			case "/hangs":
				<-release
			case "/slow":
				<-ctx.Done()
				return 0, context.Cause(ctx)
			}
			return 7, nil
		}
		c.Want([]string{"path=/hangs", "path=/slow", "path=/a", "path=/b", "path=/c", "path=/d"})
		if d := c.Deadline(); d != 61*time.Second {
			t.Errorf("deadline %v for six paths", d)
		}
		for round, want := range []string{"-1 -1 7 7 7 7", "-1 -1 7 7 7 7", "7 -1 7 7 7 7"} {
			if round == 2 {
				close(release)
				synctest.Wait()
			}
			items, err := c.Collect(t.Context())
			var got []string
			for _, it := range items {
				got = append(got, fmt.Sprint(it.Value))
			}
			if strings.Join(got, " ") != want || err == nil || !strings.Contains(err.Error(), "/slow: not done within 30s") || (round == 1) != errors.Is(err, errStuck) {
				t.Errorf("round %d: %v, %v, want %s", round, got, err, want)
			}
		}
		close(walks)
		hung := 0
		for path := range walks {
			if path == "/hangs" {
				hung++
			}
		}
		if hung != 2 {
			t.Errorf("%d walks into what hangs, want 2", hung)
		}
	})
}
