package config

import (
	"path/filepath"
	"slices"
	"strings"
)

// Load reads the configuration from environment variables; getenv is os.LookupEnv, or
// stands for it. A variable that is empty, or nothing but white space, counts as not
// set, and white space around a value is dropped. The value of a secret variable may be in
// a file, which NAME_FILE names.
//
// Its only error is *Mistakes, with all that is wrong; the Config is then of no use.
func Load(getenv func(string) (string, bool)) (Config, error) {
	l := loader{table: variables(), text: make(map[string]string), files: make(map[string]string)}
	for _, name := range regionNames() {
		l.cfg.Regions = append(l.cfg.Regions, Region{Name: name})
	}
	for _, v := range l.table {
		if text, ok := getenv(v.Name); ok && strings.TrimSpace(text) != "" {
			l.text[v.Name] = strings.TrimSpace(text)
		}
		if path, ok := getenv(v.Name + fileSuffix); ok && v.Secret && strings.TrimSpace(path) != "" {
			l.readSecret(v, strings.TrimSpace(path))
		}
		l.read(v)
	}
	if !l.isSet(databaseVariable) || l.isWrong(databaseVariable) {
		l.cfg.DatabasePath = filepath.Join(l.cfg.DataDir, databaseFile)
	}
	l.resolveRegions()
	l.checkActive()
	l.checkFolders()
	l.checkAccess()
	l.checkTLS()
	if l.mistakes != nil {
		return Config{}, &Mistakes{All: l.ordered()}
	}
	l.cfg.settings = l.settings()
	return l.cfg, nil
}

// loader is the state of one Load.
type loader struct {
	table    []variable
	text     map[string]string // the variables that are set
	files    map[string]string // those whose value is in a file, which may have been unreadable
	cfg      Config
	mistakes []Mistake
}

// read sets a variable's field, to its default where the text is a mistake: rules over
// several variables then see something sound, and do not find a second mistake that
// only follows from the first.
func (l *loader) read(v variable) {
	for _, text := range []string{l.text[v.Name], v.Default} {
		if text == "" {
			continue
		}
		err := v.set(&l.cfg, text)
		if err == nil {
			return
		}
		problem := err.Error()
		if l.files[v.Name] != "" {
			problem = "holds a value that " + problem
		}
		l.refuse(v.Name, problem, v.Allowed)
	}
}

func (l *loader) isSet(name string) bool { return l.text[name] != "" || l.files[name] != "" }

// isWrong reports whether a mistake was found in a variable that begins with prefix.
func (l *loader) isWrong(prefix string) bool {
	return slices.ContainsFunc(l.mistakes, func(m Mistake) bool { return strings.HasPrefix(m.Variable, prefix) })
}

// refuse records a mistake; problem goes on from the variable's name and value.
func (l *loader) refuse(name, problem, allowed string) {
	if path := l.files[name]; path != "" {
		l.refuseFile(name+fileSuffix, path, problem, allowed)
		return
	}
	v := l.table[l.position(name)]
	value := l.text[name]
	switch {
	case v.Secret && value != "":
		value = masked
	case v.credentials:
		value = withoutCredentials(value)
	}
	l.mistakes = append(l.mistakes, Mistake{Variable: name, Value: value, Problem: problem, Allowed: allowed})
}

func (l *loader) position(name string) int {
	return slices.IndexFunc(l.table, func(v variable) bool { return v.Name == name || v.Secret && v.Name+fileSuffix == name })
}

// ordered returns the mistakes in the order of the table.
func (l *loader) ordered() []Mistake {
	slices.SortStableFunc(l.mistakes, func(a, b Mistake) int {
		return l.position(a.Variable) - l.position(b.Variable)
	})
	return l.mistakes
}

func (l *loader) settings() []Setting {
	var all []Setting
	for _, v := range l.table {
		s := Setting{Variable: v.Variable, Value: v.Default, Source: FromDefault}
		if v.Name == databaseVariable {
			s.Default = filepath.Join(l.cfg.DataDir, databaseFile)
			s.Value = s.Default
		}
		if text, ok := l.text[v.Name]; ok {
			s.Value, s.Source = text, FromEnvironment
		}
		if path, ok := l.files[v.Name]; ok {
			s.Source, s.File = FromSecretFile, path
		}
		if s.Secret && s.Value != "" {
			s.Value = masked
		}
		all = append(all, s)
	}
	return all
}

// checkActive holds ACTIVE_REGION against the regions that are configured.
func (l *loader) checkActive() {
	var names []string
	for _, r := range l.cfg.Regions {
		names = append(names, r.Name)
	}
	if !slices.Contains(names, l.cfg.ActiveRegion) {
		l.refuse(activeVariable, "names a region that is not configured", strings.Join(names, ", "))
	}
}

// checkAccess holds the tokens against each other and against the listening address.
func (l *loader) checkAccess() {
	c := l.cfg
	if slices.ContainsFunc(c.APITokens, func(t Token) bool { return t.Secret == c.AdminToken }) {
		l.refuse(tokensVariable, "has the token of "+adminVariable+" in it, so that its holder would be an administrator",
			"tokens that differ from "+adminVariable)
	}
	if c.Loopback() || l.isSet(adminVariable) {
		return
	}
	problem := "is not set, but " + listenVariable + " (" + c.ListenAddress + ") can be reached from other machines"
	if l.isSet(tokensVariable) {
		problem += "; " + tokensVariable + " alone would leave nobody who may use the admin API"
	}
	l.refuse(adminVariable, problem, l.table[l.position(adminVariable)].Allowed+
		"; or "+listenVariable+"=127.0.0.1, which needs no token")
}
