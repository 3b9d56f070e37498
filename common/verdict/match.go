package verdict

import (
	"strings"
)

// Match says whether a strategy whose tags are want watches a series with tags: every
// tag of want must be there with its value; a key with ^ before it must not have one
// of its values, which are separated by commas, and a series without that tag is
// watched (contract alerting 1.8).
func Match(want, tags map[string]string) bool { return match(want, tags, "") }

// MatchExpression is Match for an expression, which may name the endpoint as a tag; a
// tag of the series that is called endpoint goes before the real one.
func MatchExpression(want map[string]string, endpoint string, tags map[string]string) bool {
	return match(want, tags, endpoint)
}

func match(want, tags map[string]string, endpoint string) bool {
	for k, v := range want {
		key, inverted := strings.CutPrefix(k, "^")
		got, ok := tags[key]
		if !ok && key == "endpoint" && endpoint != "" {
			got, ok = endpoint, true
		}
		if !inverted {
			if !ok || got != v {
				return false
			}
			continue
		}
		if ok {
			for not := range strings.SplitSeq(v, ",") {
				if got == not {
					return false
				}
			}
		}
	}
	return true
}
