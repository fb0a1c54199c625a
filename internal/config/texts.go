package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
)

// isName reports whether text is not empty and made of ASCII letters, digits and the
// characters of extra.
func isName(text, extra string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		return !letter && (r < '0' || r > '9') && !strings.ContainsRune(extra, r)
	})
}

// plainName accepts a name of at most 64 characters.
func plainName() kind[string] {
	return kind[string]{
		allowed: "letters, digits, '-', '_' and '.', at most 64",
		parse: func(text string) (string, error) {
			if !isName(text, "-_.") || len(text) > 64 {
				return "", errors.New("is not a name")
			}
			return text, nil
		},
	}
}

// listenAddress accepts what can stand before a port.
func listenAddress() kind[string] {
	return kind[string]{
		allowed: "an IP address or a host name, without brackets or a port (that is PORT)",
		parse: func(text string) (string, error) {
			if !isHost(text) {
				return "", errors.New("is not an IP address or a host name")
			}
			return text, nil
		},
	}
}

// hostName accepts a name that names can stand below.
func hostName() kind[string] {
	return kind[string]{
		allowed: "a host name, without a port",
		parse: func(text string) (string, error) {
			if _, err := netip.ParseAddr(text); err == nil || !isHost(text) {
				return "", errors.New("is not a host name")
			}
			return strings.ToLower(text), nil
		},
	}
}

// isHost reports whether text is an IP address, without brackets, or has the form of a
// host name.
func isHost(text string) bool {
	if _, err := netip.ParseAddr(text); err == nil {
		return true
	}
	var last string
	for label := range strings.SplitSeq(text, ".") {
		if !isName(label, "-_") || len(label) > 63 {
			return false
		}
		last = label
	}
	// A number at the end makes it an IP address, and here one that did not parse.
	return len(text) <= 253 && strings.Trim(last, "0123456789") != ""
}

// bucket accepts the bucket names of S3's current rules. Names that only old buckets of
// us-east-1 have (upper case, underscores) are not among them.
func bucket() kind[string] {
	return kind[string]{
		allowed: "3 to 63 lower-case letters, digits, '-' and '.', with a letter or digit at both ends, no \"..\", not an IP address",
		parse: func(text string) (string, error) {
			_, notIP := netip.ParseAddr(text)
			if len(text) < 3 || len(text) > 63 || !isName(text, "-.") || text != strings.ToLower(text) ||
				strings.Trim(text, "-.") != text || strings.Contains(text, "..") || notIP == nil {
				return "", errors.New("is not a bucket name")
			}
			return text, nil
		},
	}
}

// folder accepts a path. It may not exist yet.
func folder() kind[string] {
	return kind[string]{
		allowed: "the path of a folder",
		parse: func(text string) (string, error) {
			switch {
			case strings.Contains(text, "://"):
				return "", errors.New("is a URL")
			case strings.ContainsRune(text, 0):
				return "", errors.New("has a character that no path has")
			}
			return filepath.Clean(text), nil
		},
	}
}

// filePath accepts the path of a file that is read.
func filePath() kind[string] {
	return kind[string]{
		allowed: "the path of a YAML file",
		parse:   func(text string) (string, error) { return text, nil },
	}
}

// minTokenLength keeps a random token from being guessed over the network.
const minTokenLength = 16

// secret accepts text that can stand in an HTTP header.
func secret(least int) kind[string] {
	allowed := "visible ASCII characters without spaces"
	if least > 1 {
		allowed = fmt.Sprintf("at least %d %s (openssl rand -hex 16 prints a good one)", least, allowed)
	}
	return kind[string]{
		allowed: allowed,
		secret:  true,
		parse: func(text string) (string, error) {
			switch {
			case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
				return "", errors.New("has a character that is not allowed")
			case len(text) < least:
				return "", fmt.Errorf("is shorter than %d characters", least)
			}
			return text, nil
		},
	}
}

// masterKeyBytes is the length of a key of AES-256.
const masterKeyBytes = 32

// masterKey accepts the key of AES-256 in base64.
func masterKey() kind[[]byte] {
	return kind[[]byte]{
		allowed: fmt.Sprintf("%d bytes in base64 (openssl rand -base64 %[1]d prints a good one)", masterKeyBytes),
		secret:  true,
		parse: func(text string) ([]byte, error) {
			key, err := base64.StdEncoding.DecodeString(text)
			switch {
			case err != nil:
				return nil, errors.New("is not base64")
			case len(key) != masterKeyBytes:
				return nil, fmt.Errorf("has %d bytes", len(key))
			}
			return key, nil
		},
	}
}

// tokens accepts name:token pairs. Its problems count the entries instead of naming
// them: where somebody wrote token:name, the name is the secret.
func tokens() kind[[]Token] {
	names, secrets := plainName(), secret(minTokenLength)
	return kind[[]Token]{
		allowed: "name:token,name:token,…; names: unique, " + names.allowed + "; tokens: unique, " + secrets.allowed,
		secret:  true,
		list:    true,
		parse: func(text string) ([]Token, error) {
			var all []Token
			var problems []string
			for i, entry := range strings.Split(text, ",") {
				label, token, found := strings.Cut(strings.TrimSpace(entry), ":")
				_, badName := names.parse(label)
				_, badToken := secrets.parse(token)
				var problem string
				switch {
				case !found:
					problem = "has no colon"
				case badName != nil:
					problem = "has a name that " + badName.Error()
				case badToken != nil:
					problem = "has a token that " + badToken.Error()
				case slices.ContainsFunc(all, func(t Token) bool { return t.Name == label || t.Secret == token }):
					problem = "repeats the name or the token of an earlier one"
				default:
					all = append(all, Token{Name: label, Secret: token})
					continue
				}
				problems = append(problems, fmt.Sprintf("entry %d %s", i+1, problem))
			}
			if problems != nil {
				return nil, errors.New("is not a list of tokens (" + strings.Join(problems, ", ") + ")")
			}
			return all, nil
		},
	}
}
