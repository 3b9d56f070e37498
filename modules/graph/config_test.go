package graph

import (
	"path/filepath"
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
