package conf

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/tailscale/hujson"
)

// A Config is the configuration of a daemon: a pointer to a struct that holds the
// defaults before a file is read over them.
type Config interface {
	// Validate reports everything that cannot work, joined into one error.
	Validate() error
}

// A Retirer knows keys that stock or its fork has and we do not need.
type Retirer interface {
	// Retired returns the path of each such key, for example "rrd.storage" or
	// "redis", and what takes its place. A path covers all that lies below it.
	Retired() map[string]string
}

// Load reads the file at path over cfg. warnings tells of retired keys in use, a
// sentence each; all problems are reported together.
func Load(path string, cfg Config) (warnings []string, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	warnings, err = Parse(b, cfg)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return warnings, nil
}

// Parse is Load for bytes already in memory.
func Parse(b []byte, cfg Config) (warnings []string, err error) {
	std, err := hujson.Standardize(slices.Clone(b))
	if err != nil {
		return nil, err
	}
	var raw any
	if err := json.Unmarshal(std, &raw); err != nil {
		return nil, err
	}
	if _, ok := raw.(map[string]any); !ok {
		return nil, errors.New(`a configuration is an object: { … }`)
	}
	w := walker{}
	if r, ok := cfg.(Retirer); ok {
		w.retired = r.Retired()
	}
	w.walk(raw, reflect.TypeOf(cfg), "")
	if err := errors.Join(w.errs...); err != nil {
		return nil, err
	}
	clearNamed(raw, reflect.ValueOf(cfg))
	if err := json.Unmarshal(std, cfg); err != nil {
		return nil, err
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return w.warnings, nil
}

func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "an object"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number"
	}
	return t.String()
}

type walker struct {
	retired  map[string]string
	warnings []string
	errs     []error
}

var (
	unmarshaler = reflect.TypeFor[json.Unmarshaler]()
	placeholder = regexp.MustCompile(`%%[A-Z0-9_]+%%`)
)

// walk compares a value of the file with the type that will receive it.
func (w *walker) walk(raw any, t reflect.Type, path string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if s, ok := raw.(string); ok {
		if m := placeholder.FindString(s); m != "" {
			w.errs = append(w.errs, fmt.Errorf("%s: the placeholder %s was never filled in", path, m))
			return
		}
	}
	if reflect.PointerTo(t).Implements(unmarshaler) {
		w.value(raw, t, path)
		return
	}
	switch v := raw.(type) {
	case map[string]any:
		switch t.Kind() {
		case reflect.Map:
			for _, k := range sortedKeys(v) {
				w.walk(v[k], t.Elem(), join(path, k))
			}
		case reflect.Struct:
			known := map[string]reflect.Type{}
			fields(t, known)
			for _, k := range sortedKeys(v) {
				w.key(k, v[k], known, join(path, k))
			}
		default:
			w.value(raw, t, path)
		}
	case []any:
		if t.Kind() != reflect.Slice {
			w.value(raw, t, path)
			return
		}
		for i, x := range v {
			w.walk(x, t.Elem(), fmt.Sprintf("%s[%d]", path, i))
		}
	default:
		w.value(raw, t, path)
	}
}

// value sees whether a type takes a value of the file: the errors of encoding/json name no
// key, or that of the part that a struct embeds.
func (w *walker) value(raw any, t reflect.Type, path string) {
	b, err := json.Marshal(raw)
	if err == nil {
		err = json.Unmarshal(b, reflect.New(t).Interface())
	}
	if te, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		err = fmt.Errorf("got a %s, want %s", te.Value, kindName(te.Type))
	}
	if err != nil {
		w.errs = append(w.errs, fmt.Errorf("%s: %w", path, err))
	}
}

func (w *walker) key(k string, v any, known map[string]reflect.Type, path string) {
	if t, ok := known[k]; ok {
		w.walk(v, t, path)
		return
	}
	if why, ok := w.retired[path]; ok {
		w.warnings = append(w.warnings, fmt.Sprintf("%q is no longer needed: %s", path, why))
		return
	}
	w.errs = append(w.errs, fmt.Errorf("unknown key %q%s", path, suggest(k, known)))
}

// clearNamed empties the lists and maps that the file names, so that what it says
// takes the place of the defaults instead of being merged into them.
func clearNamed(raw any, v reflect.Value) {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	m, ok := raw.(map[string]any)
	if !ok || v.Kind() != reflect.Struct {
		return
	}
	for _, f := range reflect.VisibleFields(v.Type()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		x, named := m[name]
		if !named || f.Anonymous || !f.IsExported() {
			continue
		}
		switch fv := v.FieldByIndex(f.Index); fv.Kind() {
		case reflect.Map, reflect.Slice:
			fv.SetZero()
		default:
			clearNamed(x, fv)
		}
	}
}

// fields collects the JSON keys of the struct t; embedded structs count as their
// parts.
func fields(t reflect.Type, known map[string]reflect.Type) {
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous || !f.IsExported() {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		known[name] = f.Type
	}
}

func join(path, k string) string {
	if path == "" {
		return k
	}
	return path + "." + k
}

func sortedKeys(m map[string]any) []string {
	ks := make([]string, 0, len(m))
	for k := range m {
		ks = append(ks, k)
	}
	slices.Sort(ks)
	return ks
}

func suggest(k string, known map[string]reflect.Type) string {
	best, dist := "", 3
	for name := range known {
		d := distance(strings.ToLower(k), strings.ToLower(name))
		if d < dist || d == dist && best != "" && name < best {
			best, dist = name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}

// distance is the Levenshtein distance between a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		prev := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			prev, row[j] = row[j], min(row[j]+1, row[j-1]+1, prev+cost)
		}
	}
	return row[len(b)]
}
