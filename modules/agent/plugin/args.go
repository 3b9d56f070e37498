package plugin

import "strings"

// Args reads the arguments of a binding, what stands between its parentheses: parts
// between commas, each without the blanks around it, then without `"`, then without `'`.
// \, is a comma inside of a part. No text is no arguments.
func Args(s string) []string {
	if s == "" {
		return nil
	}
	var args []string
	var part strings.Builder
	flush := func() {
		arg := strings.TrimSpace(part.String())
		args = append(args, strings.Trim(strings.Trim(arg, `"`), `'`))
		part.Reset()
	}
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == ',':
			part.WriteByte(',')
			i++
		case s[i] == ',':
			flush()
		default:
			part.WriteByte(s[i])
		}
	}
	flush()
	return args
}
