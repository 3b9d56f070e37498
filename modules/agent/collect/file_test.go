package collect

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
)

// A file that stays open shows what it holds now, however long, and is opened anew after
// an error.
func TestFile(t *testing.T) {
	root := At(t.TempDir())
	f := root.File("x")
	if _, err := f.Read(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	for _, text := range []string{"one", "", strings.Repeat("long ", 5000), "short"} {
		if err := os.WriteFile(root.Path("x"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := f.Read(); err != nil || string(got) != text {
			t.Errorf("%d bytes are read as %d, %v", len(text), len(got), err)
		}
	}
	if err := os.Truncate(root.Path("x"), maxFile+1<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Read(); err == nil || !strings.Contains(err.Error(), "larger than 16 MiB") {
		t.Errorf("an endless file: %v", err)
	}
	if err := os.WriteFile(root.Path("x"), []byte("well again"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Read(); err != nil || string(got) != "well again" {
		t.Errorf("after an error: %q, %v", got, err)
	}
}

func TestParseNamesTheFile(t *testing.T) {
	for _, tc := range []struct {
		name string
		read func() (int, error)
		want string
	}{
		{"well", func() (int, error) { return 7, nil }, ""},
		{"an error", func() (int, error) { return 0, errors.New("odd") }, "/proc/x: odd"},
		{"one that names it", func() (int, error) { return 0, errors.New("open /proc/x: gone") }, "open /proc/x: gone"},
		{"a panic", func() (int, error) { panic("index out of range") }, "/proc/x: it can not be read: index out of range"},
		{"much that is quoted", func() (int, error) { return 0, errors.New(strings.Repeat("a", 5000)) }, "/proc/x: " + strings.Repeat("a", 300) + "…"},
	} {
		v, err := Parse("/proc/x", tc.read)
		if said := ""; err != nil {
			if said = err.Error(); said != tc.want {
				t.Errorf("%s: %q, want %q", tc.name, said, tc.want)
			}
		} else if tc.want != "" || v != 7 {
			t.Errorf("%s: %d without an error", tc.name, v)
		}
	}
}
