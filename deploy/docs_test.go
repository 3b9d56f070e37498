package deploy

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every sentence that a daemon may answer at /health stands in the page for
// operators, and every port of a shipped configuration.
func TestOperationsPage(t *testing.T) {
	page := read(t, "../docs/operations.md")
	files, err := filepath.Glob("../modules/*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	body := regexp.MustCompile(`(?ms)^func \([^)]*\) health\(\) error \{.*?^\}`)
	sentence := regexp.MustCompile(`(?:errors\.New|fmt\.Errorf)\("([^"]*)"`)
	insist := regexp.MustCompile(`(?:insist\([^,]+, |trouble\.set\([^,]+, "[^"]*", )"([^"]+)"`)
	n := 0
	want := func(file, text string) {
		n++
		text, _, _ = strings.Cut(text, "%") // what follows differs
		if text = strings.TrimRight(text, " :"); text != "there is no book on disk" && !strings.Contains(page, text) {
			t.Errorf("docs/operations.md does not explain %q of %s", text, file)
		}
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text := read(t, file)
		for _, health := range body.FindAllString(text, -1) {
			for _, m := range sentence.FindAllStringSubmatch(health, -1) {
				want(file, m[1])
			}
		}
		for _, m := range insist.FindAllStringSubmatch(text, -1) {
			want(file, m[1])
		}
	}
	if n < 12 {
		t.Errorf("%d sentences found in the sources: the test looks in the wrong place", n)
	}
	configs, err := filepath.Glob("../config/*.json")
	if err != nil {
		t.Fatal(err)
	}
	port := regexp.MustCompile(`"(?:listen|web_port)": *"[^"]*:(\d+)"`)
	for _, file := range configs {
		for _, m := range port.FindAllStringSubmatch(read(t, file), -1) {
			if !strings.Contains(page, m[1]) {
				t.Errorf("docs/operations.md does not name port %s of %s", m[1], filepath.Base(file))
			}
		}
	}
	for _, key := range regexp.MustCompile(`\]\(([a-z0-9./-]+\.md)`).FindAllStringSubmatch(page, -1) {
		if !fileThere(filepath.Join("../docs", key[1])) {
			t.Errorf("docs/operations.md points to %s, which is not there", key[1])
		}
	}
}
