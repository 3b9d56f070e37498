package v1

import (
	"math"
	"strconv"
	"unicode/utf8"

	"falcon/common/model"
	"falcon/modules/api/graphs"
)

// The answers of history are by far the largest; they are written by hand, since
// reflection would take most of a request's time.

// appendHistory writes series as the array that history answers.
func appendHistory(dst []byte, all []*graphs.Series) []byte {
	dst = append(dst, '[')
	for i, s := range all {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"endpoint":`...)
		dst = appendString(dst, s.Endpoint)
		dst = append(dst, `,"counter":`...)
		dst = appendString(dst, s.Counter)
		dst = append(dst, `,"dstype":`...)
		dst = appendString(dst, s.DsType)
		dst = append(dst, `,"step":`...)
		dst = strconv.AppendInt(dst, int64(s.Step), 10)
		dst = append(dst, `,"Values":[`...)
		for j := range s.Values {
			if j > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, `{"timestamp":`...)
			dst = strconv.AppendInt(dst, s.Values[j].Timestamp, 10)
			dst = append(dst, `,"value":`...)
			dst = appendValue(dst, s.Values[j].Value)
			dst = append(dst, '}')
		}
		dst = append(dst, "]}"...)
	}
	return append(dst, ']')
}

// appendValue writes a number, whole ones without the search for the shortest
// form, or null.
func appendValue(dst []byte, v model.JSONFloat) []byte {
	f := float64(v)
	if math.Abs(f) < 1<<53 && f == math.Trunc(f) {
		return strconv.AppendInt(dst, int64(f), 10)
	}
	return v.AppendJSON(dst)
}

const hexDigits = "0123456789abcdef"

// appendString writes s as a JSON string; bytes that are not UTF-8 become U+FFFD.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		b := s[i]
		if b >= ' ' && b != '"' && b != '\\' && b < utf8.RuneSelf {
			i++
			continue
		}
		if b >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
			dst = append(append(dst, s[from:i]...), "\ufffd"...)
		} else {
			dst = append(dst, s[from:i]...)
			switch b {
			case '"', '\\':
				dst = append(dst, '\\', b)
			case '\n':
				dst = append(dst, `\n`...)
			case '\t':
				dst = append(dst, `\t`...)
			default:
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&15])
			}
		}
		i++
		from = i
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}
