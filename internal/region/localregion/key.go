package localregion

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	maxKeyBytes     = 1024 // the limit of S3
	maxSegmentBytes = 255  // NAME_MAX of every common file system
)

// CheckKey returns nil when an embedded region can hold an object of this key
// exactly, and otherwise an error that says why it cannot. Keys are paths of
// files there, so some legal S3 keys have no place, or would be stored
// as another key: "a//b" and "a/./b" as "a/b", "a/../b" as "b". A key that ends
// in "/" would become a folder, which holds neither a body nor a content type.
//
// It does not look at what the region holds: p and p/q can each be held, but not both.
func CheckKey(key string) error {
	switch {
	case key == "":
		return errors.New("key is empty")
	case len(key) > maxKeyBytes:
		return fmt.Errorf("key has %d bytes; at most %d are allowed", len(key), maxKeyBytes)
	case !utf8.ValidString(key):
		return errors.New("key is not UTF-8")
	case strings.ContainsFunc(key, unlistable):
		return errors.New("key contains a control character that an embedded region cannot list")
	}
	for segment := range strings.SplitSeq(key, "/") {
		if err := checkSegment(segment); err != nil {
			return err
		}
	}
	return nil
}

// unlistable reports whether XML has no way to write c: listings, which the
// server does not encode otherwise, would show another key. NUL, which no file name can contain, is one.
func unlistable(c rune) bool {
	return c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0xFFFE || c == 0xFFFF
}

func checkSegment(segment string) error {
	switch {
	case segment == "":
		return errors.New(`key begins or ends with "/" or contains "//": an embedded region has no files without a name`)
	case segment == "." || segment == "..":
		return fmt.Errorf("key has a segment %q, which an embedded region would resolve as a path", segment)
	case segment == temporaryDir:
		return fmt.Errorf("key has a segment %q, which an embedded region keeps for itself", segment)
	case len(segment) > maxSegmentBytes:
		return fmt.Errorf("key has a segment of %d bytes between slashes; an embedded region holds at most %d",
			len(segment), maxSegmentBytes)
	}
	return nil
}
