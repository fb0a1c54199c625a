package config

import (
	"fmt"
	"strings"
)

// Mistakes is the error of Load: everything wrong with a configuration, in the order
// of Reference. It holds no secret.
type Mistakes struct {
	All []Mistake // at least one
}

// Mistake is one thing wrong with one variable.
type Mistake struct {
	Variable string
	Key      string // the setting in the file, where Place is set
	Place    string // file:line; empty where what is wrong is not in a file
	Value    string // as set; ******** in place of a secret; empty where the variable is not set
	Problem  string // goes on from the variable's name: "is not a whole number"
	Allowed  string // what would be accepted

	line int // of Place
}

// Error returns a text of several lines for people, one line for each mistake.
func (m *Mistakes) Error() string {
	var b strings.Builder
	switch n := len(m.All); n {
	case 1:
		b.WriteString("the configuration has a mistake:")
	default:
		fmt.Fprintf(&b, "the configuration has %d mistakes:", n)
	}
	for _, one := range m.All {
		b.WriteString("\n  ")
		b.WriteString(one.String())
	}
	return b.String()
}

// String returns the mistake as one line.
func (m Mistake) String() string {
	var value string
	switch m.Value {
	case "":
	case masked:
		value = "=" + masked
	default:
		value = fmt.Sprintf("=%q", m.Value) // quoted, so that a stray space or control character shows
	}
	name := m.Variable
	if m.Place != "" {
		name = m.Place + ":"
		if m.Key != "" {
			name += " " + m.Key
		}
	}
	return fmt.Sprintf("%s%s %s; allowed: %s", name, value, m.Problem, m.Allowed)
}

// withoutCredentials returns what may be shown of a refused value in which a password
// could stand: all of it, unless it has the marks of user information, a query, a
// connection string or a key in PEM. Then only the scheme is left, for where exactly the secret begins
// cannot be told in a text that did not parse.
func withoutCredentials(text string) string {
	if !strings.ContainsAny(text, "@?=") && !strings.Contains(text, "-----BEGIN") {
		return text
	}
	if scheme, _, ok := strings.Cut(text, "://"); ok && isName(scheme, "+-.") {
		return scheme + "://" + masked
	}
	return masked
}
