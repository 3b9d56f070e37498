package portal

import (
	"strings"
	"unicode/utf8"
)

// clip makes s fit into a column of max characters of stock's tables: what is no
// UTF-8 goes, what needs four bytes becomes U+FFFD (stock's utf8 columns hold three),
// and what is too long is cut between characters.
func clip(s string, max int) string {
	s = strings.ToValidUTF8(s, "")
	s = strings.Map(func(r rune) rune {
		if r > 0xffff {
			return utf8.RuneError
		}
		return r
	}, s)
	n := 0
	for i := range s {
		if n++; n > max {
			return s[:i]
		}
	}
	return s
}
