// Package fakehost gives tests the kernel's files of hosts that are not there.
package fakehost

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A Host is one at two looks: Second are the files that are others then.
type Host struct {
	Name          string
	First, Second []File
}

// A File is one below the host's root. A path that begins with "dir " is a folder where
// there should be a file: reading it fails, as reading some files of the kernel does.
type File struct{ Path, Text string }

// Read reads the hosts of a folder, NAME.txtar each: some words, and then files below
// lines "-- path --"; "-- 2: path --" is one as it is at the second look.
func Read(t testing.TB, dir string) (all []Host) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no hosts in %s: %v", dir, err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		h := Host{Name: strings.TrimSuffix(filepath.Base(name), ".txtar")}
		var at *[]File
		for line := range strings.Lines(string(b)) {
			head, ok := strings.CutPrefix(line, "-- ")
			head, ok2 := strings.CutSuffix(head, " --\n")
			if !ok || !ok2 {
				if at != nil {
					(*at)[len(*at)-1].Text += line
				}
				continue
			}
			at = &h.First
			if rest, ok := strings.CutPrefix(head, "2: "); ok {
				at, head = &h.Second, rest
			}
			*at = append(*at, File{Path: head})
		}
		all = append(all, h)
	}
	return all
}

// Write puts files below a root.
func Write(t testing.TB, root string, files []File) {
	t.Helper()
	for _, f := range files {
		path, folder := strings.CutPrefix(f.Path, "dir ")
		path = filepath.Join(root, path)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		switch {
		case err != nil:
		case folder:
			err = os.MkdirAll(path, 0o755)
		default:
			err = os.WriteFile(path, []byte(f.Text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
