package regiontest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// getObject serves HEAD too: that is the same answer, its body left out.
func (s *Server) getObject(c *call) (effect, error) {
	if c.Query.Has("partNumber") {
		if err := c.checkPartNumber(); err != nil {
			return nil, err
		}
	}
	return func(b *bucket) (*reply, error) {
		o := b.current(c.Key)
		if o == nil {
			return nil, noSuchKey()
		}
		switch status, header := checkRead(c.Header, "", o); status {
		case http.StatusNotModified:
			h := http.Header{"Etag": {o.ETag}, "Last-Modified": {o.LastModified.Format(http.TimeFormat)}}
			return &reply{status: status, header: h}, nil
		case http.StatusPreconditionFailed:
			return nil, failCondition(header)
		}
		sp, err := selectSpan(c, o)
		if err != nil {
			return nil, err
		}
		h := o.headers()
		sp.describe(h, o)
		if c.Header.Get("X-Amz-Checksum-Mode") == "ENABLED" && !s.opts.Discard {
			sp.checksum.addTo(h)
		}
		for name, v := range c.Query {
			if header, ok := strings.CutPrefix(name, "response-"); ok {
				h.Set(header, v[0])
			}
		}
		rep := &reply{header: h, body: o.content(sp.offset, sp.length), size: sp.length}
		if sp.partial {
			rep.status = http.StatusPartialContent
		}
		return rep, nil
	}, nil
}

// span is the piece of an object that a GET asks for.
type span struct {
	offset, length int64
	partial        bool
	parts          int      // of the object, said only to who asks for a part
	checksum       Checksum // none where the piece has none of its own
}

func (sp span) describe(h http.Header, o *Object) {
	if sp.partial && o.Size > 0 {
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", sp.offset, sp.offset+sp.length-1, o.Size))
	}
	if sp.parts > 0 {
		h.Set("X-Amz-Mp-Parts-Count", strconv.Itoa(sp.parts))
	}
}

func selectSpan(c *call, o *Object) (span, error) {
	whole := span{length: o.Size, checksum: o.Checksum}
	header := c.Header.Get("Range")
	if c.Query.Has("partNumber") {
		if header != "" {
			return span{}, fail("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
		}
		return selectPart(c.PartNumber, o, whole)
	}
	offset, length, ok := parseRange(header, o.Size)
	switch {
	case !ok:
		return whole, nil
	case length <= 0:
		return span{}, fail("InvalidRange", "The requested range is not satisfiable")
	}
	return span{offset: offset, length: length, partial: true}, nil
}

// selectPart finds a part. To S3 an object that came in one piece is its own
// first part.
func selectPart(number int, o *Object, whole span) (span, error) {
	whole.partial = true
	if o.Parts == nil && number == 1 {
		return whole, nil
	}
	// The parts count from 1 without gaps here, whatever their upload called them.
	if number > len(o.Parts) {
		return span{}, fail("InvalidPartNumber", "The requested partnumber is not satisfiable")
	}
	sp := span{partial: true, parts: len(o.Parts)}
	for _, p := range o.Parts[:number-1] {
		sp.offset += p.Size
	}
	sp.length, sp.checksum = o.Parts[number-1].Size, o.Parts[number-1].Checksum
	return sp, nil
}

// parseRange reads a Range header; ok is false where S3 ignores it: syntax it
// does not know, or more ranges than one. A range that begins past the end has
// no length.
func parseRange(header string, size int64) (offset, length int64, ok bool) {
	spec, found := strings.CutPrefix(header, "bytes=")
	from, to, dash := strings.Cut(spec, "-")
	if !found || !dash || strings.Contains(spec, ",") {
		return 0, 0, false
	}
	first, err1 := strconv.ParseUint(from, 10, 63)
	last, err2 := strconv.ParseUint(to, 10, 63)
	switch {
	case from == "" && err2 == nil && last > 0 && size == 0: // all of nothing is fine
		return 0, 0, false
	case from == "" && err2 == nil: // the last so many bytes
		length = min(int64(last), size)
		return size - length, length, true
	case err1 == nil && to == "":
		return int64(first), size - int64(first), true
	case err1 == nil && err2 == nil && first <= last:
		return int64(first), min(int64(last)+1, size) - int64(first), true
	}
	return 0, 0, false
}
