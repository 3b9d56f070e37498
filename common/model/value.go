package model

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

func itoa(n int) string { return strconv.Itoa(n) }

// A JSONFloat is a float64 that JSON can always carry: NaN and the infinities,
// which stand for "no value", are written as null and read from null as NaN.
type JSONFloat float64

// MarshalJSON writes the shortest number that reads back as the same value.
func (f JSONFloat) MarshalJSON() ([]byte, error) {
	return f.AppendJSON(nil), nil
}

// AppendJSON appends what MarshalJSON writes to dst.
func (f JSONFloat) AppendJSON(dst []byte) []byte {
	v := float64(f)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(dst, "null"...)
	}
	format := byte('f')
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, v, format, -1, 64)
}

// UnmarshalJSON reads a number, or null as NaN.
func (f *JSONFloat) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*f = JSONFloat(math.NaN())
		return nil
	}
	v, err := strconv.ParseFloat(string(b), 64)
	if err != nil {
		return fmt.Errorf("value %s is not a number", b)
	}
	*f = JSONFloat(v)
	return nil
}

// A ValueKind tells what ParseValue found.
type ValueKind uint8

const (
	ValueNumber ValueKind = iota // a finite number
	ValueText                    // a string that is not a number
	ValueEmpty                   // the empty string
	ValueBad                     // null, a boolean, an object, NaN or an infinity
)

// ParseValue reads the value of a pushed item in any form a codec delivers it:
// every numeric kind, a numeric string, or bytes that hold one (contract ingest
// 1.1 and 1.3). text is set for ValueText only.
func ParseValue(v any) (num float64, text string, kind ValueKind) {
	switch x := v.(type) {
	case float64:
		num = x
	case float32:
		num = float64(x)
	case int:
		num = float64(x)
	case int8:
		num = float64(x)
	case int16:
		num = float64(x)
	case int32:
		num = float64(x)
	case int64:
		num = float64(x)
	case uint:
		num = float64(x)
	case uint8:
		num = float64(x)
	case uint16:
		num = float64(x)
	case uint32:
		num = float64(x)
	case uint64:
		num = float64(x)
	case json.Number:
		return parseText(string(x))
	case string:
		return parseText(x)
	case []byte:
		return parseText(string(x))
	default:
		return 0, "", ValueBad
	}
	if math.IsNaN(num) || math.IsInf(num, 0) {
		return 0, "", ValueBad
	}
	return num, "", ValueNumber
}

func parseText(s string) (float64, string, ValueKind) {
	if s == "" {
		return 0, "", ValueEmpty
	}
	v, err := strconv.ParseFloat(s, 64)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, "", ValueBad // the words NaN and Inf, or a number out of range
	}
	if err != nil {
		return 0, s, ValueText
	}
	return v, "", ValueNumber
}
