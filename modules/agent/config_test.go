package agent

import (
	"path/filepath"
	"strings"
	"testing"

	"falcon/common/conf"
)

// The files of stock and of its fork load as they are.
func TestStockFilesLoad(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		cfg := DefaultConfig()
		if _, err := conf.Load(file, &cfg); err != nil {
			t.Errorf("%v", err)
		}
	}
}

// What can not work is refused in words.
func TestValidate(t *testing.T) {
	for _, tc := range []struct{ in, err string }{
		{`{"metric_level_interval":{"level_5":10}}`, `metric_level_interval: there is no "level_5", only level_1 to level_4`},
		{`{"metric_level_interval":{"level_1":0}}`, `metric_level_interval.level_1: 0 is not between 1 and 3600 seconds`},
		{`{"transfer":{"addrs":["nowhere"]}}`, `transfer.addrs: "nowhere" is no address, write host:port`},
	} {
		cfg := DefaultConfig()
		if _, err := conf.Parse([]byte(tc.in), &cfg); err == nil || !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s\n got %v\nwant %s", tc.in, err, tc.err)
		}
	}
}
