package config

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"
)

// Load reads the configuration from environment variables, and from the file that CONFIG
// names, over which they win; getenv is os.LookupEnv, or stands for it. What is empty, or nothing
// but white space, counts as not set, and white space around a value is dropped. The value of a
// secret may be in a file of its own, which NAME_FILE names.
//
// Its only error is *Mistakes, with all that is wrong; the Config is then of no use.
func Load(getenv func(string) (string, bool)) (Config, error) {
	l := loader{getenv: getenv, text: make(map[string]string), files: make(map[string]string), lines: make(map[string]int)}
	path, _ := l.environment(fileVariable)
	l.file = readConfigFile(path)
	names := defaultRegionNames()
	if l.file.regions != nil {
		names = nil
		for _, r := range l.file.regions {
			names = append(names, r.name)
		}
	}
	l.table = variables(names)
	l.file.readRegions(l.table)
	for _, name := range names {
		l.cfg.Regions = append(l.cfg.Regions, Region{Name: name})
	}
	for _, v := range l.table {
		l.take(v)
		if l.isOutOfPlace(v) {
			l.refuseOneBucket(v)
			continue
		}
		l.read(v)
	}
	if !l.isSet(databaseVariable) || l.isWrong(databaseVariable) {
		l.cfg.DatabasePath = filepath.Join(l.cfg.DataDir, databaseFile)
	}
	l.checkUnused()
	l.resolveRegions()
	l.checkActive()
	l.resolveBuckets()
	l.checkFolders()
	l.checkAccess()
	l.checkGatewayKey()
	l.checkTLS()
	if l.mistakes = slices.Concat(l.file.mistakes, l.mistakes); l.mistakes != nil {
		return Config{}, &Mistakes{All: l.ordered()}
	}
	l.cfg.settings = l.settings()
	return l.cfg, nil
}

// loader is the state of one Load.
type loader struct {
	getenv   func(string) (string, bool)
	file     *file
	table    []variable
	text     map[string]string // the variables that are set
	files    map[string]string // those whose value is in a file, which may have been unreadable
	lines    map[string]int    // in the configuration file, of those that are set there; NAME_FILE too
	cfg      Config
	mistakes []Mistake
}

// take finds the text of a variable: in the environment, or in a secret file that it names; else in
// the configuration file, in the same two ways.
func (l *loader) take(v variable) {
	text, isSet := l.environment(v.Name)
	if isSet {
		l.text[v.Name] = text
	}
	if path, ok := l.environment(v.Name + fileSuffix); ok && v.Secret {
		isSet = true
		l.readSecret(v, path)
	}
	if isSet {
		return
	}
	if value, ok := l.file.values[v.Name]; ok {
		l.text[v.Name], l.lines[v.Name] = value.text, value.line
	}
	if value, ok := l.file.values[v.Name+fileSuffix]; ok {
		l.lines[v.Name+fileSuffix] = value.line
		l.readSecret(v, value.text)
	}
}

// environment returns the text of an environment variable, and whether it is set; "" where it is not.
func (l *loader) environment(name string) (string, bool) {
	text, ok := l.getenv(name)
	if text = strings.TrimSpace(text); !ok || text == "" {
		return "", false
	}
	return text, true
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
		if err == nil || v.Name == activeVariable && l.file.regionsAreWrong {
			return // it may name a region whose own name is a mistake
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

// isRegionWrong reports whether a mistake was found in a variable of the region, of those that say what it is.
func (l *loader) isRegionWrong(name string) bool {
	return slices.ContainsFunc(l.table, func(v variable) bool { return v.region == name && !l.isOutOfPlace(v) && l.isWrong(v.Name) })
}

// isOutOfPlace reports whether the file lists buckets, and the variable names one. It is a mistake to
// set it, from which nothing follows for its region.
func (l *loader) isOutOfPlace(v variable) bool { return l.file.buckets != nil && v.namesBucket() }

// label is what a variable is called where it is set, or would be looked for.
func (l *loader) label(name string) string {
	if _, isInFile := l.placeOf(l.table[l.position(name)]); isInFile {
		return l.table[l.position(name)].Key
	}
	return name
}

// placeOf returns the line of the file that a variable is set in, or that begins the region to
// which one belongs that is not set; isInFile is false where that is none.
func (l *loader) placeOf(v variable) (line int, isInFile bool) {
	if l.isSet(v.Name) {
		if line, isInFile = l.lines[v.Name]; !isInFile {
			line, isInFile = l.lines[v.Name+fileSuffix]
		}
		return line, isInFile
	}
	for _, r := range l.file.regions {
		if r.name == v.region {
			return r.line, true
		}
	}
	return 0, false
}

// checkUnused refuses variables of a region that there is without a file, and not in this one.
func (l *loader) checkUnused() {
	if l.file.regions == nil || l.file.regionsAreWrong {
		return
	}
	var prefixes []string
	for _, r := range l.file.regions {
		prefixes = append(prefixes, regionPrefix(r.name)+"…")
	}
	for _, v := range variables(defaultRegionNames()) {
		if v.region == "" || l.position(v.Name) >= 0 {
			continue
		}
		_, isSet := l.environment(v.Name)
		_, hasFile := l.environment(v.Name + fileSuffix)
		if isSet || v.Secret && hasFile {
			l.mistakes = append(l.mistakes, Mistake{Variable: v.Name, Problem: "is set, but " + l.file.path + " names the regions, and " + v.region + " is none of them",
				Allowed: "variables that begin with " + strings.Join(prefixes, ", ")})
		}
	}
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
	m := Mistake{Variable: name, Value: value, Problem: problem, Allowed: allowed}
	if line, isInFile := l.placeOf(v); isInFile {
		m.Key, m.Place = v.Key, l.file.place(line)
	}
	l.mistakes = append(l.mistakes, m)
}

func (l *loader) position(name string) int {
	return slices.IndexFunc(l.table, func(v variable) bool { return v.Name == name || v.Secret && v.Name+fileSuffix == name })
}

// ordered returns the mistakes in the order of the table; those of the file's form, and of its buckets, in
// that of its lines, before all others.
func (l *loader) ordered() []Mistake {
	slices.SortStableFunc(l.mistakes, func(a, b Mistake) int {
		return cmp.Or(l.position(a.Variable)-l.position(b.Variable), a.line-b.line)
	})
	return l.mistakes
}

func (l *loader) settings() []Setting {
	var all []Setting
	for _, v := range l.table {
		if l.isOutOfPlace(v) {
			continue
		}
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
		if line, ok := l.lines[v.Name]; ok {
			s.Source, s.Place = FromFile, l.file.place(line)
		}
		if line, ok := l.lines[v.Name+fileSuffix]; ok {
			s.Place = l.file.place(line)
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
	if !slices.Contains(names, l.cfg.ActiveRegion) && !l.file.regionsAreWrong {
		l.refuse(activeVariable, "names a region that is not configured", strings.Join(names, ", "))
	}
}

// checkGatewayKey refuses half of an access key.
func (l *loader) checkGatewayKey() {
	for _, pair := range [][2]string{{gatewayKeyVariable, gatewaySecretVariable}, {gatewaySecretVariable, gatewayKeyVariable}} {
		if l.isSet(pair[0]) && !l.isSet(pair[1]) {
			l.refuse(pair[1], "is not set, but "+l.label(pair[0])+" is", "both or neither")
		}
	}
}

// checkAccess holds the tokens against each other and against the listening address.
func (l *loader) checkAccess() {
	c := l.cfg
	if slices.ContainsFunc(c.APITokens, func(t Token) bool { return t.Secret == c.AdminToken }) {
		l.refuse(tokensVariable, "has the token of "+l.label(adminVariable)+" in it, so that its holder would be an administrator",
			"tokens that differ from "+l.label(adminVariable))
	}
	if c.Loopback() || l.isSet(adminVariable) {
		return
	}
	problem := "is not set, but " + l.label(listenVariable) + " (" + c.ListenAddress + ") can be reached from other machines"
	if l.isSet(tokensVariable) {
		problem += "; " + l.label(tokensVariable) + " alone would leave nobody who may use the admin API"
	}
	l.refuse(adminVariable, problem, l.table[l.position(adminVariable)].Allowed+
		"; or "+listenVariable+"=127.0.0.1, which needs no token")
}
