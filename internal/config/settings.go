package config

import "slices"

// masked stands for a secret wherever settings or mistakes are shown.
const masked = "********"

// Variable describes one environment variable.
type Variable struct {
	Name    string `json:"name"`
	Default string `json:"default"` // as it would be written; empty where there is none
	Allowed string `json:"allowed"` // the accepted values, in words
	Secret  bool   `json:"secret"`  // its value is never shown, and may be in a file that NAME_FILE names
	Help    string `json:"help"`    // what it is for, in a sentence or two
}

// Source says where the value of a variable comes from.
type Source string

// The sources of a value.
const (
	FromEnvironment Source = "environment"
	FromSecretFile  Source = "secret file" // that NAME_FILE names in the environment
	FromDefault     Source = "default"
)

// Setting is a variable with the value in force. Its Default is the one that applies
// here: that of DATABASE_URL follows DATA_DIR.
type Setting struct {
	Variable
	Value  string `json:"value"` // as written; ******** for a secret that is set; empty where there is none
	Source Source `json:"source"`
	File   string `json:"file,omitempty"` // the path of a secret file
}

// Settings returns every variable and its value as Load read it, secrets masked, in the
// order of Reference. It is empty for a Config that Load did not make, and does not
// follow fields changed since.
func (c Config) Settings() []Setting { return slices.Clone(c.settings) }

// Reference returns every variable the gateway reads, in an order fit for documentation.
func Reference() []Variable {
	var all []Variable
	for _, v := range variables() {
		all = append(all, v.Variable)
	}
	return all
}
