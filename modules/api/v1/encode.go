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

// appendSeries writes a series as an element of the array that history answers.
func appendSeries(dst []byte, s *graphs.Series) []byte {
	dst = append(dst, `{"endpoint":`...)
	dst = appendString(dst, s.Endpoint)
	dst = append(dst, `,"counter":`...)
	dst = appendString(dst, s.Counter)
	dst = append(dst, `,"dstype":`...)
	dst = appendString(dst, s.DsType)
	dst = append(dst, `,"step":`...)
	dst = strconv.AppendInt(dst, int64(s.Step), 10)
	dst = append(dst, `,"Values":[`...)
	for i := range s.Values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"timestamp":`...)
		dst = strconv.AppendInt(dst, s.Values[i].Timestamp, 10)
		dst = append(dst, `,"value":`...)
		dst = appendValue(dst, s.Values[i].Value)
		dst = append(dst, '}')
	}
	return append(dst, "]}"...)
}

// appendValue writes a number, or null. Whole numbers and those with up to three
// decimals, which most are, need no search for the shortest form.
func appendValue(dst []byte, v model.JSONFloat) []byte {
	f := float64(v)
	if math.Abs(f) < 1<<53 && f == math.Trunc(f) {
		return strconv.AppendInt(dst, int64(f), 10)
	}
	// n/1000 is the double nearest to the decimal that is written, so when it
	// is f, what is written reads back as f.
	if n := math.Round(f * 1000); math.Abs(n) < 1<<53 && n/1000 == f {
		return appendThousandths(dst, int64(n))
	}
	return v.AppendJSON(dst)
}

// appendThousandths writes n/1000, where n is no multiple of 1000.
func appendThousandths(dst []byte, n int64) []byte {
	if n < 0 {
		dst, n = append(dst, '-'), -n
	}
	dst = strconv.AppendInt(dst, n/1000, 10)
	d := byte(n % 1000 / 100)
	dst = append(dst, '.', '0'+d)
	if n %= 100; n > 0 {
		dst = append(dst, '0'+byte(n/10))
		if n %= 10; n > 0 {
			dst = append(dst, '0'+byte(n))
		}
	}
	return dst
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
