package plugin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Plugin is a program below the folder of the plugins that runs each Cycle.
type Plugin struct {
	Key   string // FilePath, and its arguments in parentheses when it is bound as a file
	Path  string // below the folder
	Args  string // as the binding has them
	MTime time.Time
	Cycle time.Duration
}

// withArgs is stock's reading of a binding: greedy, and not anchored.
var withArgs = regexp.MustCompile(`(.*)\((.*)\)`)

// maxCycle keeps a slip of the pen from being a plugin that never runs.
const maxCycle = 366 * 24 * time.Hour

// cycleOf returns the seconds with which the name of a program begins: 60_ntp.py.
func cycleOf(name string) (time.Duration, error) {
	number, _, ok := strings.Cut(name, "_")
	n, err := strconv.Atoi(number)
	switch {
	case !ok || err != nil:
		return 0, errors.New("its name does not begin with the seconds of its cycle, such as 60_ntp.py")
	case n < 1 || n > int(maxCycle/time.Second):
		return 0, fmt.Errorf("a cycle of %d seconds is not between 1 second and a year", n)
	}
	return time.Duration(n) * time.Second, nil
}

// Find returns the plugins that bindings name below dir, by key, and by binding why one
// names none. A binding is a folder, for all programs directly in it, or a program,
// perhaps with arguments in parentheses; a program that is bound by itself is not bound
// again by its folder.
func Find(dir string, bindings []string) (map[string]Plugin, map[string]error) {
	found, bad := map[string]Plugin{}, map[string]error{}
	root, err := os.OpenRoot(dir)
	if err != nil {
		for _, b := range bindings {
			bad[b] = err
		}
		return found, bad
	}
	defer root.Close()
	var folders []string
	single := map[string]bool{} // programs that are bound by themselves
	for _, b := range bindings {
		file, args := b, ""
		if m := withArgs.FindStringSubmatch(b); m != nil {
			file, args = m[1], m[2]
		}
		info, err := inside(root, file)
		switch {
		case err != nil:
			bad[b] = err
		case info.IsDir():
			folders = append(folders, path.Clean(file))
		default:
			file = path.Clean(file)
			p, err := program(file, info)
			if err != nil {
				bad[b] = err
				continue
			}
			single[file] = true
			p.Key, p.Args = file+"("+args+")", args
			found[p.Key] = p
		}
	}
	for _, folder := range folders {
		entries, err := fs.ReadDir(root.FS(), folder)
		if err != nil {
			bad[folder] = err
		}
		for _, e := range entries {
			file := path.Join(folder, e.Name())
			if _, err := cycleOf(e.Name()); single[file] || err != nil && !startsWithNumber(e.Name()) {
				continue
			}
			info, err := inside(root, file)
			if err == nil && info.IsDir() {
				continue
			}
			p := Plugin{}
			if err == nil {
				p, err = program(file, info)
			}
			if err != nil {
				bad[file] = err
				continue
			}
			p.Key = file
			found[file] = p
		}
	}
	return found, bad
}

// startsWithNumber tells a program whose cycle is wrong from a file that is none.
func startsWithNumber(name string) bool {
	number, _, ok := strings.Cut(name, "_")
	_, err := strconv.Atoi(number)
	return ok && err == nil
}

// inside looks at a file below root; a name or a link that leaves it is an error.
func inside(root *os.Root, file string) (fs.FileInfo, error) {
	switch {
	case file == "":
		return nil, errors.New("it is empty")
	case path.IsAbs(file):
		return nil, errors.New("the path begins with /; it is one below plugin.dir")
	case slices.Contains(strings.Split(file, "/"), ".."):
		return nil, errors.New("the path has .. in it")
	}
	return root.Stat(file)
}

func program(file string, info fs.FileInfo) (Plugin, error) {
	if !info.Mode().IsRegular() {
		return Plugin{}, errors.New("it is neither a folder nor a program")
	}
	cycle, err := cycleOf(path.Base(file))
	return Plugin{Path: file, MTime: info.ModTime(), Cycle: cycle}, err
}

// locate returns the path that is executed. It looks again: a link may lead elsewhere
// now.
func locate(dir string, p Plugin) (string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	if _, err := inside(root, p.Path); err != nil {
		return "", err
	}
	return filepath.Abs(filepath.Join(dir, p.Path))
}
