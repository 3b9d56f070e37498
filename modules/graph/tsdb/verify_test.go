package tsdb

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"falcon/common/model"
)

func TestVerify(t *testing.T) {
	db, _, opt := testDB(t)
	for _, name := range []string{"a", "b", "c"} {
		ref := resolve(t, db, "h", name, model.Derive, 60)
		mustPut(t, db, ref, t0-60, 1)
		mustPut(t, db, ref, t0, 2)
	}
	mustSeal(t, db, t0+600)
	mustPut(t, db, resolve(t, db, "h", "d", model.Gauge, 60), t0+60, 3)
	if ok, err := db.Delete("h", "c", model.Derive, 60); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := Verify(opt.Dir)
	if err != nil {
		t.Fatal(err)
	}
	// Two points each of a and b in the segment, one of d in the log.
	if r.Faults != 0 || r.Series != 3 || r.Points != 5 {
		t.Errorf("%d faults, %d series, %d points, want 0, 3, 5", r.Faults, r.Series, r.Points)
	}
	// Any flipped bit in the files of data is seen.
	for _, f := range r.Files {
		if f.Kind == "other" {
			continue
		}
		path := filepath.Join(opt.Dir, f.Name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b {
			if f.Kind != "segment" && i >= 6 && i < 16 {
				continue // the number in a header repeats the name
			}
			b[i] ^= 1
			if err := os.WriteFile(path, b, 0o644); err != nil {
				t.Fatal(err)
			}
			bad, err := Verify(opt.Dir)
			if err != nil {
				t.Fatal(err)
			}
			torn := int64(0)
			for _, g := range bad.Files {
				torn += g.Torn
			}
			if bad.Faults == 0 && torn == 0 {
				t.Errorf("%s: a flipped bit in byte %d of %d is not seen", f.Name, i, len(b))
			}
			b[i] ^= 1
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var text strings.Builder
	if err := r.Write(&text); err != nil || !strings.Contains(text.String(), "3 series, 5 points, 0 faults") {
		t.Errorf("Write: %v\n%s", err, text.String())
	}
	if _, err := Verify(filepath.Join(opt.Dir, "nowhere")); err == nil {
		t.Error("Verify of no folder has no error")
	}
}
