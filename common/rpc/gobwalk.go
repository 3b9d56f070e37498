package rpc

// gob makes a map as large as its message says before it looks for the entries: three bytes
// from a stranger ask for a terabyte. So what a peer sends is walked over first, along the
// types that it has described (package gob, "Encoding Details").

// Types that gob knows without a description, and those that descriptions are made of.
const (
	gobBool      = 1
	gobInt       = 2
	gobUint      = 3
	gobFloat     = 4
	gobBytes     = 5
	gobString    = 6
	gobComplex   = 7
	gobInterface = 8
)

// gobKind is what a description is of: the fields of gob's wireType, from 0.
type gobKind int

const (
	gobArray gobKind = iota
	gobSlice
	gobStruct
	gobMap
	gobOwn // types that encode themselves: these three are bytes
	gobBinary
	gobText
)

// maxGobDepth bounds how deep values lie in each other.
const maxGobDepth = 200

// gobType is the description of a type.
type gobType struct {
	kind      gobKind
	key, elem int64
	fields    []int64 // types of a struct's
}

// A gobWalker walks over the messages of a connection.
type gobWalker struct {
	types map[int64]gobType
	b     []byte
	bad   bool // b is not what its types say
}

// describe takes the description of a type, a message without its length.
func (w *gobWalker) describe(message []byte) error {
	w.b, w.bad = message, false
	id := w.int()
	if id >= 0 {
		w.bad = true
	}
	w.describing(-id)
	if w.bad || len(w.b) > 0 {
		return protocolError("a gob type that can not be read")
	}
	return nil
}

// check says what is wrong with a value, a message without its length.
func (w *gobWalker) check(message []byte) error {
	w.b, w.bad = message, false
	w.whole(w.int(), 0)
	if w.bad || len(w.b) > 0 {
		return protocolError("a gob value that is not of its type")
	}
	return nil
}

// whole walks over a value that stands by itself: one that is no struct does as if it were
// the only field of one.
func (w *gobWalker) whole(id int64, depth int) {
	if t, ok := w.types[id]; (!ok || t.kind != gobStruct) && w.uint() != 0 {
		w.bad = true
	}
	w.value(id, depth)
}

func (w *gobWalker) uint() uint64 {
	if w.bad || len(w.b) == 0 {
		w.bad = true
		return 0
	}
	c := w.b[0]
	w.b = w.b[1:]
	if c <= 0x7f {
		return uint64(c)
	}
	n := 0x100 - int(c) // a negated count of bytes
	if n > 8 || n > len(w.b) {
		w.bad = true
		return 0
	}
	var u uint64
	for _, c := range w.b[:n] {
		u = u<<8 | uint64(c)
	}
	w.b = w.b[n:]
	return u
}

func (w *gobWalker) int() int64 {
	u := w.uint()
	if u&1 != 0 {
		return ^int64(u >> 1)
	}
	return int64(u >> 1)
}

// count reads a number of things that take so many bytes each at least.
func (w *gobWalker) count(least int) int {
	n := w.uint()
	if n > uint64(len(w.b)/least) {
		w.bad = true
		return 0
	}
	return int(n)
}

func (w *gobWalker) skip() {
	n := w.count(1)
	w.b = w.b[n:]
}

// each calls fn for each field of a struct that is there; they count from 0.
func (w *gobWalker) each(fn func(field int)) {
	for field := -1; !w.bad; {
		delta := w.uint()
		if delta == 0 {
			return
		}
		if delta > maxGobTypes { // more fields than may be described
			w.bad = true
			return
		}
		field += int(delta)
		fn(field)
	}
}

// firstGobType is the first id that a peer may describe.
const firstGobType = 64

// describing reads a wireType and remembers it as type id. What a decoder takes for another
// type than this walker, as one that is two kinds at once or is described again, is refused.
func (w *gobWalker) describing(id int64) {
	if _, again := w.types[id]; again || id < firstGobType {
		w.bad = true
	}
	t := gobType{kind: -1}
	w.each(func(kind int) {
		if t.kind >= 0 {
			w.bad = true
		}
		t.kind = gobKind(kind)
		w.each(func(field int) {
			switch {
			case field == 0: // CommonType
				w.each(func(field int) {
					switch field {
					case 0: // Name
						w.skip()
					case 1: // Id
						w.int()
					default:
						w.bad = true
					}
				})
			case field == 1 && t.kind == gobStruct:
				for range w.count(1) {
					of := int64(0)
					w.each(func(field int) {
						switch field {
						case 0: // Name
							w.skip()
						case 1: // Id
							of = w.int()
						default:
							w.bad = true
						}
					})
					t.fields = append(t.fields, of)
				}
			case field == 1 && t.kind == gobMap:
				t.key = w.int()
			case field == 1 && t.kind <= gobSlice, field == 2 && t.kind == gobMap:
				t.elem = w.int()
			case field == 2 && t.kind == gobArray: // Len
				w.int()
			default:
				w.bad = true
			}
		})
	})
	if w.bad || t.kind < gobArray || t.kind > gobText {
		w.bad = true
		return
	}
	if w.types == nil {
		w.types = map[int64]gobType{}
	}
	w.types[id] = t
}

// value walks over a value of a type.
func (w *gobWalker) value(id int64, depth int) {
	if depth > maxGobDepth {
		w.bad = true
	}
	if w.bad {
		return
	}
	switch id {
	case gobBool, gobInt, gobUint, gobFloat:
		w.uint()
		return
	case gobBytes, gobString:
		w.skip()
		return
	case gobComplex:
		w.uint()
		w.uint()
		return
	case gobInterface:
		w.inner(depth)
		return
	}
	t, ok := w.types[id]
	if !ok {
		w.bad = true
		return
	}
	switch t.kind {
	case gobArray, gobSlice:
		for range w.count(1) {
			w.value(t.elem, depth+1)
		}
	case gobMap:
		for range w.count(2) {
			w.value(t.key, depth+1)
			w.value(t.elem, depth+1)
		}
	case gobStruct:
		w.each(func(field int) {
			if field >= len(t.fields) {
				w.bad = true
				return
			}
			w.value(t.fields[field], depth+1)
		})
	default:
		w.skip()
	}
}

// inner walks over the value of an interface: its type's name, its type, and the value with
// its length. A type that is described in the middle of a value, which nobody's peer has, is
// refused.
func (w *gobWalker) inner(depth int) {
	n := w.count(1)
	w.b = w.b[n:]
	if n == 0 { // nil
		return
	}
	id := w.int()
	n = w.count(1)
	left := len(w.b) - n // a decoder goes by the type, and not by this length
	w.whole(id, depth+1)
	w.bad = w.bad || len(w.b) != left
}
