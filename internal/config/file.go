package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// fileBlocks are the first words that a block of the file stands for: FAILOVER_MODE is mode in
// the block failover. A variable that begins with another word is a setting of its own. The list
// is written down and not found in the table, where a new variable would move an old one.
func fileBlocks() []string { return []string{"FAILOVER", "HEALTH", "LOG", "TLS"} }

// regionsKey is the list of regions in a file.
const regionsKey = "regions"

// fileKey returns where a file has the variable: HEALTH_INTERVAL is health.interval, DATA_DIR is dataDir.
func fileKey(variable string) string {
	if block, rest, ok := strings.Cut(variable, "_"); ok && slices.Contains(fileBlocks(), block) {
		return strings.ToLower(block) + "." + camelCase(rest)
	}
	return camelCase(variable)
}

// camelCase writes ACCESS_KEY as accessKey.
func camelCase(name string) string {
	var b strings.Builder
	for i, word := range strings.Split(strings.ToLower(name), "_") {
		if i > 0 && word != "" {
			word = strings.ToUpper(word[:1]) + word[1:]
		}
		b.WriteString(word)
	}
	return b.String()
}

// file is what a configuration file says. Its mistakes are those of its form; what is wrong with a
// value is found where all values are read.
type file struct {
	path   string
	values map[string]fileValue // by the variable that they stand for
	// regions are those of the file, in its order; nil where it has no list of them.
	regions []fileRegion
	// regionsAreWrong: some region has no name that could be used, so that nothing follows from a
	// name that is not among regions.
	regionsAreWrong bool
	// buckets is the file's list of them, which is read once it is known what regions there are; nil
	// where it has none.
	buckets  *yaml.Node
	mistakes []Mistake
}

type fileValue struct {
	text string
	line int
}

type fileRegion struct {
	name string
	line int
	node *yaml.Node
}

// readConfigFile reads a configuration file; path "" is no file, which says nothing.
func readConfigFile(path string) *file {
	f := &file{path: path, values: make(map[string]fileValue)}
	if path == "" {
		return f
	}
	content, err := contentOf(path)
	if err != nil {
		f.refuse(0, "", err.Error(), "the path of a YAML file that can be read; deploy/tandem.example.yaml is one")
		return f
	}
	if root := f.parse(content); root != nil {
		f.readRoot(root)
	}
	return f
}

// contentOf returns a file's content, which may be nothing. Its errors go on from the path.
func contentOf(path string) ([]byte, error) {
	opened, err := os.Open(path)
	if err != nil {
		return nil, unreadable(err)
	}
	defer opened.Close()
	content, err := io.ReadAll(io.LimitReader(opened, maxFileBytes+1))
	switch {
	case err != nil:
		return nil, unreadable(err)
	case len(content) > maxFileBytes:
		return nil, fmt.Errorf("is larger than %s", SizeText(maxFileBytes))
	}
	return content, nil
}

// parse returns the one document of a YAML text, nil where it says nothing or is none.
func (f *file) parse(content []byte) *yaml.Node {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document, more yaml.Node
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) || err == nil && len(document.Content) == 0 {
		return nil
	}
	if err == nil {
		if err = decoder.Decode(&more); errors.Is(err, io.EOF) {
			return document.Content[0]
		}
		if err == nil {
			f.refuse(more.Line, "", "begins a second document", "one document")
			return nil
		}
	}
	line, problem := syntaxError(err)
	f.refuse(line, "", "is not YAML: "+problem, "YAML, with text in quotes that begins with one of & * ! % @ ` { [ or has \": \" or \" #\" in it")
	return nil
}

var (
	errorLine   = regexp.MustCompile(`^line (\d+): `)
	quotedInErr = regexp.MustCompile(`'[^']*'`)
)

// syntaxError takes an error of the YAML parser apart. What it quotes may be a secret: text that
// begins with * is taken for the name of an anchor.
func syntaxError(err error) (line int, problem string) {
	problem = strings.TrimPrefix(err.Error(), "yaml: ")
	if found := errorLine.FindStringSubmatch(problem); found != nil {
		line, _ = strconv.Atoi(found[1]) // digits; one that is too long is no line
		problem = strings.TrimPrefix(problem, found[0])
	}
	if strings.Contains(problem, "anchor") {
		problem = quotedInErr.ReplaceAllString(problem, masked)
	}
	return line, problem
}

// refuse records a mistake of the file's form. Line 0 is the whole file.
func (f *file) refuse(line int, key, problem, allowed string) {
	m := Mistake{Variable: fileVariable, Key: key, Place: f.place(line), Problem: problem, Allowed: allowed, line: line}
	if line == 0 {
		m.Place, m.Value = "", f.path
	}
	f.mistakes = append(f.mistakes, m)
}

// refuseValue is refuse for a value that is no secret's, and may be shown.
func (f *file) refuseValue(line int, key, value, problem, allowed string) {
	f.refuse(line, key, problem, allowed)
	f.mistakes[len(f.mistakes)-1].Value = value
}

func (f *file) place(line int) string { return f.path + ":" + strconv.Itoa(line) }

// readRoot reads the settings that stand at the top and in blocks; of the regions only their names,
// which decide what variables there are.
func (f *file) readRoot(root *yaml.Node) {
	settings := make(map[string]variable)
	blocks := make(map[string]map[string]variable)
	for _, v := range withFiles(variables(nil)) {
		block, key, ok := strings.Cut(v.Key, ".")
		switch {
		case v.Key == "":
		case !ok:
			settings[block] = v
		case blocks[block] == nil:
			blocks[block] = map[string]variable{key: v}
		default:
			blocks[block][key] = v
		}
	}
	known := append(sortedKeys(settings), sortedKeys(blocks)...)
	known = append(known, regionsKey, bucketsKey)
	slices.Sort(known)
	f.eachKey(root, "", known, notASetting, func(key string, value *yaml.Node) {
		switch {
		case key == regionsKey:
			f.readRegionNames(value)
		case key == bucketsKey:
			if !isNull(value) {
				f.buckets = value
			}
		case blocks[key] != nil:
			f.eachKey(value, key+".", sortedKeys(blocks[key]), notASetting, func(inner string, value *yaml.Node) {
				f.readValue(blocks[key][inner], value)
			})
		default:
			f.readValue(settings[key], value)
		}
	})
}

// readRegionNames reads the names of the list of regions.
func (f *file) readRegionNames(list *yaml.Node) {
	const allowed = "a list of regions, each with a name"
	if isNull(list) {
		return
	}
	if !f.isPlain(list, regionsKey) {
		f.regionsAreWrong = true
		return
	}
	if list.Kind != yaml.SequenceNode || len(list.Content) == 0 {
		f.refuse(list.Line, regionsKey, "is not a list, or has nothing in it", allowed)
		f.regionsAreWrong = true
		return
	}
	lines := make(map[string]int)
	for i, node := range list.Content {
		key := fmt.Sprintf("%s[%d]", regionsKey, i)
		if !f.isPlain(node, key) || node.Kind != yaml.MappingNode {
			f.refuse(node.Line, key, "is not a region", allowed)
			f.regionsAreWrong = true
			continue
		}
		name := f.nameOf(node, key, "region", regionName(), lines)
		if name == "" {
			f.regionsAreWrong = true
			continue
		}
		f.regions = append(f.regions, fileRegion{name: name, line: node.Line, node: node})
		lines[name] = node.Line
	}
}

// nameOf returns the name of a region or a bucket in its list, "" where it has none that can be used.
// lines has those of the names before it.
func (f *file) nameOf(item *yaml.Node, key, what string, k kind[string], lines map[string]int) string {
	for i := 0; i+1 < len(item.Content); i += 2 {
		if item.Content[i].Value != "name" {
			continue
		}
		node, key := item.Content[i+1], key+".name"
		if !f.isPlain(node, key) {
			return ""
		}
		if node.Kind != yaml.ScalarNode {
			f.refuse(node.Line, key, "is not text", k.allowed)
			return ""
		}
		name, err := k.parse(strings.TrimSpace(node.Value))
		if err != nil {
			f.refuse(node.Line, key, err.Error(), k.allowed)
			return ""
		}
		if earlier, isRepeated := lines[name]; isRepeated {
			f.refuse(node.Line, key, "is the name of the "+what+" at line "+strconv.Itoa(earlier), "a name of its own for each "+what)
			return ""
		}
		return name
	}
	f.refuse(item.Line, key+".name", "is not set", k.allowed)
	return ""
}

// readRegions reads what the file says of its regions, by the variables of the table.
func (f *file) readRegions(table []variable) {
	for _, r := range f.regions {
		prefix := regionKey(r.name)
		settings := make(map[string]variable)
		for _, v := range withFiles(table) {
			if v.region == r.name {
				settings[strings.TrimPrefix(v.Key, prefix)] = v
			}
		}
		known := append([]string{"name"}, sortedKeys(settings)...)
		f.eachKey(r.node, prefix, known, notASetting, func(key string, value *yaml.Node) {
			if key != "name" { // which was read before
				f.readValue(settings[key], value)
			}
		})
	}
}

// notASetting is said of a key that there is not.
const notASetting = "is not a setting"

// eachKey calls what is to be done with each key of a block, once; prefix is the block's own key, with
// a dot. unknown is said of a key that is not known.
func (f *file) eachKey(block *yaml.Node, prefix string, known []string, unknown string, do func(key string, value *yaml.Node)) {
	own := strings.TrimSuffix(prefix, ".")
	if isNull(block) || !f.isPlain(block, own) {
		return
	}
	if block.Kind != yaml.MappingNode {
		f.refuse(block.Line, own, "is not a block of settings", "key: value lines, with the keys "+strings.Join(known, ", "))
		return
	}
	lines := make(map[string]int)
	for i := 0; i+1 < len(block.Content); i += 2 {
		node := block.Content[i]
		key := prefix + node.Value
		switch earlier, isRepeated := lines[node.Value]; {
		case !f.isPlain(node, own):
		case node.Kind != yaml.ScalarNode || !slices.Contains(known, node.Value):
			if node.Kind != yaml.ScalarNode || !isName(node.Value, "-_.") {
				key = prefix + "…" // a text with spaces in it may be anything, a secret too
			}
			f.refuse(node.Line, key, unknown, strings.Join(known, ", "))
		case isRepeated:
			f.refuse(node.Line, key, "is repeated; it is set at line "+strconv.Itoa(earlier)+" already", "each setting once")
		default:
			lines[node.Value] = node.Line
			do(node.Value, block.Content[i+1])
		}
	}
}

// readValue takes the text of a setting, which is read as the variable's is. A list is taken where
// the variable is one.
func (f *file) readValue(v variable, node *yaml.Node) {
	if node.Kind == yaml.SequenceNode && v.list {
		if !f.isPlain(node, v.Key) {
			return
		}
		var items []string
		for _, item := range node.Content {
			if !f.isPlain(item, v.Key) {
				return
			}
			if item.Kind != yaml.ScalarNode {
				f.refuse(item.Line, v.Key, "has an item that is not text", v.Allowed)
				return
			}
			items = append(items, item.Value)
		}
		f.take(v, strings.Join(items, ","), node.Line)
		return
	}
	if text, ok := f.textOf(node, v.Key, v.Allowed); ok {
		f.take(v, text, node.Line)
	}
}

// take keeps the text of a setting, unless it says nothing.
func (f *file) take(v variable, text string, line int) {
	if text = strings.TrimSpace(text); text != "" {
		f.values[v.Name] = fileValue{text: text, line: line}
	}
}

// textOf returns the text of one value, "" where it says nothing; false where it is none.
func (f *file) textOf(node *yaml.Node, key, allowed string) (text string, ok bool) {
	switch {
	case !f.isPlain(node, key):
		return "", false
	case isNull(node):
		return "", true
	case node.Kind != yaml.ScalarNode:
		f.refuse(node.Line, key, "is a list or a block, not a value", allowed)
		return "", false
	}
	return strings.TrimSpace(node.Value), true
}

// isPlain refuses what would have a text mean another thing than it says: anchors, aliases and tags
// of their own. (A secret that begins with & would be the name of an anchor, and not set.)
func (f *file) isPlain(node *yaml.Node, key string) bool {
	problem := ""
	switch {
	case node.Kind == yaml.AliasNode, node.Anchor != "":
		problem = "has an anchor or an alias"
	case node.Style&yaml.TaggedStyle != 0:
		problem = "has a tag"
	default:
		return true
	}
	f.refuse(node.Line, key, problem, "the value itself, in quotes where it begins with &, * or !")
	return false
}

func isNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null" }

func sortedKeys[T any](m map[string]T) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// regionName accepts the name of a region of the file.
func regionName() kind[string] {
	return kind[string]{
		allowed: "1 to 40 lower-case letters, digits and '-', with a letter or digit at both ends; unique",
		parse: func(text string) (string, error) {
			if len(text) > 40 || !isName(text, "-") || text != strings.ToLower(text) || strings.Trim(text, "-") != text {
				return "", errors.New("is not the name of a region")
			}
			return text, nil
		},
	}
}
