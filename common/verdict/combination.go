package verdict

import (
	"strconv"

	"falcon/common/model"
)

// CombinationID names the event of a rule of several conditions on a host: primary is the
// smallest strategy id among its members (contract alerting 5.1).
func CombinationID(primary int, serial, endpoint string) string {
	return "m_" + strconv.Itoa(primary) + "_" + model.Checksum(CombinationKey(serial, endpoint))
}

// CombinationKey is by what a combination's events find their plus_judge on the ring.
func CombinationKey(serial, endpoint string) string { return serial + "/" + endpoint }

// Severer says whether priority a is more severe than b: 9 is special and goes before 0.
func Severer(a, b int) bool { return (a+1)%10 < (b+1)%10 }
