package model

// MaxItems is how many items one call or request may bring: an item takes a hundred
// times the memory of the three bytes that an empty one has in JSON.
const MaxItems = 1_000_000

// CountItems returns how many elements the JSON array b has, without decoding it: 0
// when b holds no array. Of text that is not JSON it may return anything.
func CountItems(b []byte) int {
	depth, n := 0, 0
	blank := true // no element has begun
	for i := 0; i < len(b); i++ {
		switch c := b[i]; c {
		case ' ', '\n', '\t', '\r':
			continue
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			if depth++; depth == 1 {
				if c == '{' {
					return 0
				}
				continue
			}
		case ']', '}':
			if depth--; depth == 0 && blank {
				return 0
			}
			continue
		case ',':
			if depth == 1 {
				n++
			}
		}
		if depth == 0 {
			return 0 // a bare value
		}
		blank = false
	}
	if blank {
		return 0
	}
	return n + 1
}
