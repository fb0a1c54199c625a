package regiontest

import (
	"encoding/xml"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tagXML struct {
	Key, Value string
}

type taggingXML struct {
	XMLName xml.Name `xml:"Tagging"`
	TagSet  struct {
		Tag []tagXML
	}
}

func tagsOfHeader(header string) (map[string]string, error) {
	q, err := url.ParseQuery(header)
	if err != nil {
		return nil, fail("InvalidArgument", "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.")
	}
	var list []tagXML
	for key, values := range q {
		for _, v := range values {
			list = append(list, tagXML{key, v})
		}
		if len(values) > 1 || key == "" {
			return nil, fail("InvalidArgument", "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.")
		}
	}
	return tagMap(list)
}

func tagMap(list []tagXML) (map[string]string, error) {
	if len(list) > 10 {
		return nil, fail("BadRequest", "Object tags cannot be greater than 10")
	}
	tags := make(map[string]string)
	for _, t := range list {
		if _, twice := tags[t.Key]; twice {
			return nil, fail("InvalidTag", "Cannot provide multiple Tags with the same key")
		}
		if n := utf8.RuneCountInString(t.Key); n == 0 || n > 128 || !isTagText(t.Key) {
			return nil, fail("InvalidTag", "The TagKey you have provided is invalid")
		}
		if utf8.RuneCountInString(t.Value) > 256 || !isTagText(t.Value) {
			return nil, fail("InvalidTag", "The TagValue you have provided is invalid")
		}
		tags[t.Key] = t.Value
	}
	return tags, nil
}

// isTagText says whether S3 takes the text as key or value of a tag.
func isTagText(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsSpace(r) && !strings.ContainsRune("+-=._:/@", r)
	})
}

func (s *Server) getTagging(c *call) (effect, error) {
	return func(b *bucket) (*reply, error) {
		o := b.current(c.Key)
		if o == nil {
			return nil, noSuchKey()
		}
		var doc taggingXML
		for _, k := range slices.Sorted(maps.Keys(o.Tags)) {
			doc.TagSet.Tag = append(doc.TagSet.Tag, tagXML{k, o.Tags[k]})
		}
		return xmlReply(http.StatusOK, doc), nil
	}, nil
}

func (s *Server) putTagging(c *call) (effect, error) {
	var doc taggingXML
	if _, err := c.receiveXML(&doc, true); err != nil {
		return nil, err
	}
	tags, err := tagMap(doc.TagSet.Tag)
	if err != nil {
		return nil, err
	}
	return s.setTags(c, tags, http.StatusOK), nil
}

func (s *Server) deleteTagging(c *call) (effect, error) {
	return s.setTags(c, map[string]string{}, http.StatusNoContent), nil
}

func (s *Server) setTags(c *call, tags map[string]string, status int) effect {
	return func(b *bucket) (*reply, error) {
		o := b.current(c.Key)
		if o == nil {
			return nil, noSuchKey()
		}
		s.setLocked(c.Request, b, c.Key, o.withTags(tags))
		return &reply{status: status}, nil
	}
}
