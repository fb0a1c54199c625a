package regiontest

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Object is one object as the region holds it.
type Object struct {
	Key          string
	Size         int64
	ETag         string // with its quotes
	LastModified time.Time
	// Header has the system headers that were kept, by canonical name:
	// Content-Type always, the others only where they were given.
	Header map[string]string
	// Metadata is what came as x-amz-meta-*, by lower-case name without that prefix.
	Metadata map[string]string
	Tags     map[string]string
	Checksum Checksum
	// Parts are those of a multipart upload, in order; nil for a single PUT.
	Parts []Part
	// Data is nil where bodies are discarded.
	Data []byte
}

// Part is one part of a multipart upload.
type Part struct {
	Number   int
	Size     int64
	ETag     string // with its quotes
	Checksum Checksum
}

// bucket holds objects and the keys in order. Guarded by the server's lock.
type bucket struct {
	objects map[string]*Object // never changed once they are here
	keys    []string           // sorted by their bytes
	uploads map[string]*upload // by id
	// done has the results of completed uploads, by key and id.
	done map[[2]string]completeResultXML
}

func newBucket() *bucket {
	return &bucket{
		objects: make(map[string]*Object),
		uploads: make(map[string]*upload),
		done:    make(map[[2]string]completeResultXML),
	}
}

// current is what the key holds, nil where that is nothing.
func (b *bucket) current(key string) *Object { return b.objects[key] }

// set puts o in the place of what the key held; nil removes.
func (b *bucket) set(key string, o *Object) {
	i, found := slices.BinarySearch(b.keys, key)
	switch {
	case o != nil && !found:
		b.keys = slices.Insert(b.keys, i, key)
	case o == nil && found:
		b.keys = slices.Delete(b.keys, i, i+1)
	}
	if o == nil {
		delete(b.objects, key)
		return
	}
	b.objects[key] = o
}

// newObject is an object with what the headers of its upload say of it.
func newObject(key string, h http.Header) (*Object, error) {
	o := &Object{Key: key, Header: make(map[string]string), Metadata: make(map[string]string)}
	for _, name := range []string{"Cache-Control", "Content-Disposition", "Content-Language", "Content-Type",
		"Expires", "X-Amz-Storage-Class", "X-Amz-Website-Redirect-Location"} {
		if v := h.Get(name); v != "" {
			o.Header[name] = v
		}
	}
	if v := withoutChunked(h); v != "" {
		o.Header["Content-Encoding"] = v
	}
	if o.Header["Content-Type"] == "" {
		o.Header["Content-Type"] = "binary/octet-stream"
	}
	if o.Header["X-Amz-Storage-Class"] == "STANDARD" {
		delete(o.Header, "X-Amz-Storage-Class") // S3 names every class but this
	}
	total := 0
	for name, values := range h {
		if meta, ok := strings.CutPrefix(name, "X-Amz-Meta-"); ok {
			value := strings.Join(values, ",")
			o.Metadata[strings.ToLower(meta)] = value
			total += len(meta) + len(value)
		}
	}
	if total > 2048 {
		return nil, fail("MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size")
	}
	var err error
	o.Tags, err = tagsOfHeader(h.Get("X-Amz-Tagging"))
	return o, err
}

// headers are those of a GET, but for what depends on the range.
func (o *Object) headers() http.Header {
	h := http.Header{"Accept-Ranges": {"bytes"}, "Etag": {o.ETag}}
	h.Set("Last-Modified", o.LastModified.Format(http.TimeFormat))
	for name, v := range o.Header {
		h.Set(name, v)
	}
	for name, v := range o.Metadata {
		h.Set("X-Amz-Meta-"+name, v)
	}
	if len(o.Tags) > 0 {
		h.Set("X-Amz-Tagging-Count", strconv.Itoa(len(o.Tags)))
	}
	return h
}

// content is a span of the object's bytes.
func (o *Object) content(offset, length int64) io.Reader {
	if o.Data == nil {
		return Pattern(offset, length)
	}
	return bytes.NewReader(o.Data[offset : offset+length])
}

// clone shares nothing with o.
func (o *Object) clone() Object {
	c := *o
	c.Header, c.Metadata, c.Tags = maps.Clone(o.Header), maps.Clone(o.Metadata), maps.Clone(o.Tags)
	c.Parts, c.Data = slices.Clone(o.Parts), bytes.Clone(o.Data)
	return c
}

// withTags is o with other tags, which is no change of its time.
func (o *Object) withTags(tags map[string]string) *Object {
	c := *o
	c.Tags = tags
	return &c
}

// fill gives the object the body it was sent with.
func (o *Object) fill(p payload) {
	o.Size, o.Data, o.Checksum = p.size, p.data, p.checksum
	o.ETag = quote(p.md5)
	if p.data == nil {
		o.ETag = quote(madeUpMD5(o.Key, 0, p.size))
	}
}

func quote(md5 []byte) string { return `"` + hex.EncodeToString(md5) + `"` }

// madeUpMD5 stands for the digest of bytes that were discarded.
func madeUpMD5(key string, part int, size int64) []byte {
	sum := md5.Sum(fmt.Appendf(nil, "%s\x00%d\x00%d", key, part, size))
	return sum[:]
}

func (s *Server) putObject(c *call) (effect, error) {
	o, err := newObject(c.Key, c.Header)
	if err != nil {
		return nil, err
	}
	p, err := s.receiveObject(c)
	if err != nil {
		return nil, err
	}
	o = s.kept(o)
	o.fill(p)
	return func(b *bucket) (*reply, error) {
		if err := s.mayWrite(c.Header, b.current(c.Key)); err != nil {
			return nil, err
		}
		o.LastModified = now()
		s.setLocked(c.Request, b, c.Key, o)
		h := http.Header{"Etag": {o.ETag}}
		o.Checksum.addTo(h)
		return &reply{header: h}, nil
	}, nil
}

func (s *Server) deleteObject(c *call) (effect, error) {
	return func(b *bucket) (*reply, error) {
		if err := s.mayDelete(c.Header.Get("If-Match"), b.current(c.Key)); err != nil {
			return nil, err
		}
		s.setLocked(c.Request, b, c.Key, nil)
		return &reply{status: http.StatusNoContent}, nil
	}, nil
}

func noSuchKey() error { return fail("NoSuchKey", "The specified key does not exist.") }
