package failpoint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

// Each step that the code names is in the list, once, and each of the list is in the code.
func TestPointsAreThoseOfTheCode(t *testing.T) {
	var called []string
	for _, dir := range []string{"common", "modules", "cmd"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() && d.Name() == "node_modules" {
				return skip(err)
			}
			if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(f, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				sel, ok := call.Fun.(*ast.SelectorExpr)
				if !ok || sel.Sel.Name != "Reached" {
					return true
				}
				if pkg, ok := sel.X.(*ast.Ident); !ok || pkg.Name != "failpoint" {
					return true
				}
				lit, ok := call.Args[0].(*ast.BasicLit)
				if !ok {
					t.Errorf("%s names a step that only a run knows: write a constant", path)
					return true
				}
				name, err := strconv.Unquote(lit.Value)
				if err != nil || slices.Contains(called, name) {
					t.Errorf("%s: the step %s is named twice", path, lit.Value)
				}
				called = append(called, name)
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var listed []string
	for _, p := range Points {
		listed = append(listed, p.Name)
		if len(p.Walks) == 0 || p.Tries == "" {
			t.Errorf("nobody walks over %s, or nobody knows why", p.Name)
		}
	}
	slices.Sort(called)
	slices.Sort(listed)
	if !slices.Equal(called, listed) {
		t.Errorf("the code names\n%q\nand the list has\n%q", called, listed)
	}
}

// skip passes an error on, and else leaves a folder out.
func skip(err error) error {
	if err != nil {
		return err
	}
	return filepath.SkipDir
}

// walks are the tests that walk over the points of somebody, and where they stand.
var walks = map[string][2]string{
	"transfer":   {"TestKillLoop", "modules/fleet"},
	"judge":      {"TestKillLoop", "modules/fleet"},
	"alarm":      {"TestKillLoop", "modules/fleet"},
	"hbs":        {"TestKillLoop", "modules/fleet"},
	"agent":      {"TestKillLoop", "modules/fleet"},
	"plus_judge": {"TestFailpoints", "modules/plus_judge"},
	"graph":      {"TestFailpoints", "modules/graph/tsdb"},
	"upgrade":    {"TestAgentsUpgradeThemselves", "deploy"},
}

// Each point is walked by a test that asks this list, and the page of reliability says
// what it tries.
func TestPointsAreWalkedAndExplained(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "reliability.md"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range Points {
		line := fmt.Sprintf("| `%s` | %s | %s |", p.Name, strings.Join(p.Walks, ", "), p.Tries)
		if !strings.Contains(string(page), line+"\n") {
			t.Errorf("docs/reliability.md has no line\n%s", line)
		}
		names = append(names, p.Walks...)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		test, dir := walks[name][0], walks[name][1]
		found := false
		files, _ := filepath.Glob(filepath.Join(root, dir, "*_test.go")) // the pattern is good
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			found = found || strings.Contains(string(b), "func "+test+"(") && strings.Contains(string(b), "failpoint.Of(")
		}
		if !found {
			t.Errorf("no test walks over the points of %s: %q in %q asks for them", name, test, dir)
		}
	}
}

// A program with the tag dies where it is told to, the time it is told to, and says what
// it does not know; one without the tag has nothing of that.
func TestReached(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	program := `package main

import "falcon/common/failpoint"

func main() {
	for range 3 {
		println("a")
		failpoint.Reached("spool.turned")
		println("b")
		failpoint.Reached("spool.appended")
	}
}
`
	if err := os.WriteFile(source, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tags := range []string{"", "failpoint"} {
		bin := filepath.Join(dir, "with-"+tags)
		build := exec.Command("go", "build", "-tags", tags, "-o", bin, source)
		build.Dir = root
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, tc := range []struct{ env, said, end string }{
			{"", "ababab", ""},
			{"spool.appended", "ab", "signal: killed"},
			{"spool.turned:3", "ababa", "signal: killed"},
			{"spool.turned:4", "ababab", ""},
			{"spool.apended", "FALCON_FAILPOINT=spool.apended names no step: write one of failpoint.Points, or one with :N", "exit status 2"},
			{"spool.turned:x", "FALCON_FAILPOINT=spool.turned:x names no step: write one of failpoint.Points, or one with :N", "exit status 2"},
		} {
			if tags == "" {
				tc.said, tc.end = "ababab", ""
			}
			run := exec.Command(bin)
			run.Env = append(os.Environ(), "FALCON_FAILPOINT="+tc.env)
			out, err := run.CombinedOutput()
			end := ""
			if err != nil {
				end = err.Error()
			}
			said := string(out)
			if !strings.Contains(said, "FALCON") {
				said = strings.ReplaceAll(said, "\n", "")
			}
			if strings.TrimSpace(said) != tc.said || end != tc.end {
				t.Errorf("tags %q, FALCON_FAILPOINT=%s: %q, %q, want %q, %q", tags, tc.env, said, end, tc.said, tc.end)
			}
		}
	}
}
