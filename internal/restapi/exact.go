package restapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// checkExact refuses what encoding/json takes for something else than it says: null, which
// it takes for an empty object; a name that comes twice, of which it takes the last; bytes
// that are no character, and halves of one, for which it puts another. data was decoded.
func checkExact(data []byte) error {
	data = trimJSON(data)
	switch {
	case !bytes.HasPrefix(data, []byte("{")):
		return errors.New("it is not an object")
	case !utf8.Valid(data):
		return errors.New("it is not valid UTF-8")
	}
	var names []string
	depth := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			text := textOf(data[i:])
			if hasHalfCharacter(text) {
				return errors.New("it has half of a surrogate pair")
			}
			if i += len(text) - 1; depth > 1 || !bytes.HasPrefix(trimJSON(data[i+1:]), []byte(":")) {
				continue
			}
			var name string
			if err := json.Unmarshal(text, &name); err != nil {
				return err
			}
			if slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) }) {
				return fmt.Errorf("%q is in it twice", name)
			}
			names = append(names, name)
		}
	}
	return nil
}

func trimJSON(data []byte) []byte { return bytes.TrimLeft(data, " \t\r\n") }

// textOf is the string that data begins with, in its quotes.
func textOf(data []byte) []byte {
	for i := 1; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return data[:i+1]
		}
	}
	return data
}

// hasHalfCharacter reports whether a string has one half of a surrogate pair without the other.
func hasHalfCharacter(text []byte) bool {
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		r, ok := escaped(text[i:])
		switch {
		case !ok:
			i++
		case !utf16.IsSurrogate(r):
			i += escapedBytes - 1
		default:
			other, _ := escaped(text[i+escapedBytes:])
			if utf16.DecodeRune(r, other) == utf8.RuneError {
				return true
			}
			i += 2*escapedBytes - 1
		}
	}
	return false
}

const escapedBytes = len(`\u0000`)

// escaped is the UTF-16 that text begins with, where that is an escape of one.
func escaped(text []byte) (rune, bool) {
	if len(text) < escapedBytes || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(text[2:escapedBytes]), 16, 16)
	return rune(n), err == nil
}
