package catalog

import (
	"os"
	"path/filepath"
	"testing"

	"falcon/modules/graph/tsdb/record"
	"falcon/modules/graph/tsdb/vfs"
)

func del(id uint32) []byte {
	return record.End(record.AppendDel(record.Begin(nil, record.Del), 1, id), 0)
}

func load(t *testing.T, path string) (ids []uint32, end int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	end, _, err = Scan(b, func(_ record.Type, p []byte) error {
		_, id, err := record.ParseDel(p)
		ids = append(ids, id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids, end
}

func TestAppendAfterATornTail(t *testing.T) {
	dir := t.TempDir()
	c, err := Open(vfs.OS{}, dir, 1, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Append(append(del(1), del(2)[:7]...)); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	path := filepath.Join(dir, Name(1))
	ids, end := load(t, path)
	if len(ids) != 1 {
		t.Fatalf("ids %v, want the whole one", ids)
	}
	if c, err = Open(vfs.OS{}, dir, 1, int64(end), int64(end)+7); err != nil {
		t.Fatal(err)
	}
	if err := c.Append(del(3)); err != nil {
		t.Fatal(err)
	}
	if ids, _ := load(t, path); len(ids) != 2 || ids[1] != 3 {
		t.Errorf("ids %v, want 1 and 3", ids)
	}
	if err := c.Rewrite(func(add func([]byte) error) error { return add(del(9)) }); err != nil {
		t.Fatal(err)
	}
	if ids, _ := load(t, filepath.Join(dir, Name(2))); len(ids) != 1 || ids[0] != 9 {
		t.Errorf("ids %v after Rewrite, want 9", ids)
	}
	if names, _ := (vfs.OS{}).ReadDir(dir); len(names) != 1 {
		t.Errorf("files %v, want the new one", names)
	}
	_ = c.Close()
}

func FuzzScan(f *testing.F) {
	f.Add(append(append([]byte(magic), 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0), del(4)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _, _ = Scan(b, func(_ record.Type, p []byte) error {
			var s record.Series
			_ = record.ParseSeries(p, &s)
			return nil
		})
	})
}
