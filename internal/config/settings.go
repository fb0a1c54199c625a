package config

import "slices"

// masked stands for a secret wherever settings or mistakes are shown.
const masked = "********"

// Variable describes one environment variable.
type Variable struct {
	Name    string `json:"name"`    // empty for what only a file can have
	Key     string `json:"key"`     // where a file has it, as in health.interval; empty for what cannot stand in one
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
	FromFile        Source = "file"
	FromDefault     Source = "default"
)

// Setting is a variable with the value in force. Its Default is the one that applies
// here: that of DATABASE_URL follows DATA_DIR.
type Setting struct {
	Variable
	Value  string `json:"value"` // as written; ******** for a secret that is set; empty where there is none
	Source Source `json:"source"`
	File   string `json:"file,omitempty"`  // the path of a secret file
	Place  string `json:"place,omitempty"` // file:line, where the source is a file
}

// Settings returns every variable and its value as Load read it, secrets masked, in the
// order of Reference, with the regions of the file in place of its two; without those that name one bucket
// where the file lists buckets. It is empty for a Config that Load did not make, and does not follow fields changed since.
func (c Config) Settings() []Setting { return slices.Clone(c.settings) }

// Reference returns every variable the gateway reads where no file names the regions, in an
// order fit for documentation. A region of a file has the variables of the first one here, with
// its own name in capitals and underscores in place of dashes.
func Reference() []Variable {
	var all []Variable
	for _, v := range variables(defaultRegionNames()) {
		all = append(all, v.Variable)
	}
	return all
}
