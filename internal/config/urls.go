package config

import (
	"errors"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// folderScheme begins the endpoint of an embedded region; its folder follows.
const folderScheme = "file://"

// endpoint accepts where a region is, and returns it as scheme://host[:port] in lower
// case, or as folderScheme and a clean absolute path, unescaped.
func endpoint() kind[string] {
	return kind[string]{
		allowed: "http://host[:port] or https://host[:port] without a path, user or parameters; or file:///absolute/path for an embedded region",
		parse: func(text string) (string, error) {
			if strings.ContainsAny(text, " \t") {
				return "", errors.New("has a space in it (some readers of environment files keep comments as part of the value)")
			}
			u, err := url.Parse(text)
			if err != nil {
				return "", errors.New("is not a URL")
			}
			switch {
			case u.User != nil:
				return "", errors.New("names a user; keys have variables of their own")
			case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
				return "", errors.New("has parameters or a fragment")
			case u.Scheme == "file":
				return folderEndpoint(u)
			case u.Scheme != "http" && u.Scheme != "https":
				return "", errors.New("does not begin with http://, https:// or file://")
			case u.Path != "" && u.Path != "/":
				return "", errors.New("has a path; the bucket has a variable of its own")
			}
			return serverEndpoint(u)
		},
		credentials: true,
	}
}

func serverEndpoint(u *url.URL) (string, error) {
	if !isHost(u.Hostname()) {
		return "", errors.New("has no host, or one that is not an IP address or a host name")
	}
	if port := u.Port(); port != "" || strings.HasSuffix(u.Host, ":") {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return "", errors.New("has a port that does not exist")
		}
	}
	server := url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host)}
	return server.String(), nil
}

// publicEndpoint accepts an endpoint that is a server's.
func publicEndpoint() kind[string] {
	of := endpoint()
	return kind[string]{
		allowed:     "http://host[:port] or https://host[:port] without a path, user or parameters",
		credentials: true,
		parse: func(text string) (string, error) {
			parsed, err := of.parse(text)
			if err == nil && strings.HasPrefix(parsed, folderScheme) {
				err = errors.New("is a folder, which no client can reach")
			}
			return parsed, err
		},
	}
}

func folderEndpoint(u *url.URL) (string, error) {
	dir := path.Clean(u.Path)
	if u.Host != "" || !path.IsAbs(dir) || dir == "/" || strings.ContainsRune(dir, 0) {
		return "", errors.New("does not name a folder by its absolute path (file:// is followed by a third slash)")
	}
	return folderScheme + dir, nil
}

// database accepts the file of the SQLite database and returns its path.
func database() kind[string] {
	return kind[string]{
		allowed:     "the path of a SQLite file, or a file: URL with nothing but a path",
		credentials: true,
		parse: func(text string) (string, error) {
			file := text
			switch scheme, _, isURL := strings.Cut(text, "://"); {
			case isURL && slices.Contains([]string{"postgres", "postgresql"}, strings.ToLower(scheme)), isConnectionString(text):
				return "", errors.New("is a PostgreSQL database, which this version does not support")
			case strings.HasPrefix(text, "file:"):
				var err error
				if file, err = pathOfURL(text); err != nil {
					return "", err
				}
			case isURL:
				return "", errors.New("is a URL of an unknown kind")
			}
			if file == ":memory:" || strings.HasSuffix(file, "/") || slices.Contains([]string{"", ".", ".."}, path.Base(file)) {
				return "", errors.New("does not name a file") // a journal in memory would forget what was acknowledged
			}
			return filepath.Clean(file), nil
		},
	}
}

// isConnectionString recognises PostgreSQL's other notation (host=… password=…), which
// would otherwise pass for an odd file name.
func isConnectionString(text string) bool {
	for word := range strings.FieldsSeq(text) {
		if key, _, ok := strings.Cut(word, "="); ok && slices.Contains([]string{"host", "user", "password", "dbname"}, key) {
			return true
		}
	}
	return false
}

// pathOfURL returns the path of file:relative/path, file:/path and file:///path.
func pathOfURL(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", errors.New("is not a URL")
	}
	if u.Host != "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return "", errors.New("has more in it than a path (file:// is followed by a third slash)")
	}
	if u.Opaque == "" {
		return u.Path, nil
	}
	file, err := url.PathUnescape(u.Opaque)
	if err != nil {
		return "", errors.New("is not a URL")
	}
	return file, nil
}
