package regiontest

import (
	"net/http"
	"strings"
	"time"
)

// lacks says whether the request asks for what this region has not.
func (s *Server) lacks(c *call) bool {
	switch {
	case s.opts.NoMultipart && (c.Query.Has("uploads") || c.Query.Has("uploadId")):
		return true
	case s.opts.NoTags && (c.Query.Has("tagging") || c.Header.Get("X-Amz-Tagging") != ""):
		return true
	}
	return s.opts.NoTrailers && c.Header.Get("X-Amz-Trailer") != ""
}

// getSetting answers as the options have it, and else as for a bucket on which nothing was set.
func (s *Server) getSetting(c *call) (effect, error) {
	name := ""
	for sub := range c.Query {
		if !isArgument(sub) {
			name = sub
		}
	}
	return func(*bucket) (*reply, error) {
		doc := s.opts.Settings[name]
		switch {
		case doc != "":
		case name == "versioning":
			doc = `<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>`
		case name == "lifecycle":
			return nil, fail("NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist")
		default:
			return nil, fail("ObjectLockConfigurationNotFoundError", "Object Lock configuration does not exist for this bucket")
		}
		h := http.Header{"Content-Type": {"application/xml"}}
		return &reply{header: h, body: strings.NewReader(doc), size: int64(len(doc))}, nil
	}, nil
}

// kept is what the region keeps of a new object.
func (s *Server) kept(o *Object) *Object {
	if s.opts.ForgetTags {
		o.Tags = nil
	}
	return o
}

// date is the Date of an answer.
func (s *Server) date() string {
	return time.Now().Add(s.opts.ClockAhead).UTC().Format(http.TimeFormat)
}
