package redisx

import (
	"fmt"
	"strings"
)

// slots is into how many parts a Redis Cluster divides all keys.
const slots = 16384

// slotOf returns the part that key belongs to: CRC16 (polynomial 0x1021, from 0) of
// the hash tag, which is what stands between the first { and the next }, or of the
// whole key when there is none or nothing stands there.
func slotOf(key string) int {
	if _, rest, ok := strings.Cut(key, "{"); ok {
		if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
			key = tag
		}
	}
	crc := uint16(0)
	for i := range len(key) {
		crc = crc<<8 ^ crcTable[byte(crc>>8)^key[i]]
	}
	return int(crc) % slots
}

var crcTable = func() (table [256]uint16) {
	for i := range table {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		table[i] = crc
	}
	return table
}()

// keyOf returns the key of a command, which is its first argument with every command
// that we send; a channel goes by the same rule, so that a message follows the key of
// that name.
func keyOf(args []any) string {
	if len(args) == 0 {
		return ""
	}
	switch k := args[0].(type) {
	case string:
		return k
	case []byte:
		return string(k)
	}
	return fmt.Sprint(args[0])
}
