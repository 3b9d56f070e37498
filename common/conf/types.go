package conf

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Duration is a key of ours: a time with its unit, as "300ms", "60s" or "72h". A
// bare number is refused, for a reader can not tell what 300 means.
type Duration time.Duration

// D returns the duration.
func (d Duration) D() time.Duration { return time.Duration(d) }

// MarshalJSON writes "1m30s".
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads a string with a unit.
func (d *Duration) UnmarshalJSON(b []byte) error {
	v, err := duration(b, 0)
	*d = Duration(v)
	return err
}

// Millis is a duration in a key of stock whose bare number means milliseconds.
type Millis time.Duration

// D returns the duration.
func (d Millis) D() time.Duration { return time.Duration(d) }

// MarshalJSON writes "5s".
func (d Millis) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads a number of milliseconds or a string with a unit.
func (d *Millis) UnmarshalJSON(b []byte) error {
	v, err := duration(b, time.Millisecond)
	*d = Millis(v)
	return err
}

// Seconds is a duration in a key of stock whose bare number means seconds.
type Seconds time.Duration

// D returns the duration.
func (d Seconds) D() time.Duration { return time.Duration(d) }

// MarshalJSON writes "1m0s".
func (d Seconds) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads a number of seconds or a string with a unit.
func (d *Seconds) UnmarshalJSON(b []byte) error {
	v, err := duration(b, time.Second)
	*d = Seconds(v)
	return err
}

// duration reads b; unit is that of a bare number, 0 refuses one.
func duration(b []byte, unit time.Duration) (time.Duration, error) {
	var s string
	if err := json.Unmarshal(b, &s); err == nil {
		if s == "" && unit == 0 {
			return 0, nil // as if the key were not there: keys of ours that 0 switches off
		}
		v, err := time.ParseDuration(s)
		if err != nil {
			return 0, fmt.Errorf("%q is not a duration: write it as \"300ms\", \"60s\" or \"72h\"", s)
		}
		if v < 0 {
			return 0, fmt.Errorf("duration %q is negative", s)
		}
		return v, nil
	}
	n, err := strconv.ParseFloat(string(b), 64)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s is not a duration: write it as \"300ms\", \"60s\" or \"72h\"", b)
	case unit == 0:
		return 0, fmt.Errorf("duration %s needs a unit: write %q or %q", b, string(b)+"ms", string(b)+"s")
	case n < 0:
		return 0, fmt.Errorf("duration %s is negative", b)
	case n*float64(unit) >= 1<<63:
		return 0, fmt.Errorf("duration %s is too long", b)
	}
	return time.Duration(n * float64(unit)), nil
}

const masked = "******"

// Secret is a password or token: it is read as it stands and written as ******,
// in /config and by -t as in any log.
type Secret string

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// String returns ****** or, when there is nothing to hide, the empty string.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return masked
}

// MarshalJSON writes what String returns.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// DSN is the address of a database, user:password@net(address)/name, or of a Redis,
// password@address. It is written with its password hidden.
type DSN string

var (
	dsnPassword = regexp.MustCompile(`^([^:@/]*):[^@]*@`)
	redisAddr   = regexp.MustCompile(`^(unix:/.*|[^/()]+)$`)
)

// Reveal returns the DSN with its password.
func (d DSN) Reveal() string { return string(d) }

// String returns the DSN with ****** for the password.
func (d DSN) String() string {
	if at := strings.LastIndexByte(string(d), '@'); at > 0 && redisAddr.MatchString(string(d[at+1:])) {
		return masked + string(d[at:])
	}
	if m := dsnPassword.FindStringSubmatch(string(d)); m != nil && string(d[len(m[1])+1]) != "@" {
		return m[1] + ":" + masked + string(d[len(m[0])-1:])
	}
	return string(d)
}

// MarshalJSON writes what String returns.
func (d DSN) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }
