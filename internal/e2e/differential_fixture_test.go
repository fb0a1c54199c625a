package e2e_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/s3op"
)

// differentialBucket is what the bucket is called on both sides: what the gateway's own regions call it must not be seen.
const differentialBucket = "tandem"

// fixtureObject is an object that is there before every request.
type fixtureObject struct {
	header []string
	body   []byte
}

// fixtureObjects are those that one PUT makes. The one in parts, and the open upload, are made by makeParts and makeOpen.
func fixtureObjects() map[string]fixtureObject {
	return map[string]fixtureObject{
		"plain": {[]string{"Content-Type: text/plain"}, []byte("The quick brown fox jumps over the lazy dog")},
		"dressed": {[]string{
			"Content-Type: application/json", "Cache-Control: max-age=60", `Content-Disposition: attachment; filename="a b.json"`, "Content-Encoding: identity",
			"Content-Language: de", "Expires: Wed, 21 Oct 2065 07:28:00 GMT", "X-Amz-Meta-Side: a", "X-Amz-Meta-Two-Words: b c", "X-Amz-Tagging: colour=blue&size=1",
		}, []byte(`{"dressed": true}`)},
		"empty":               {nil, nil},
		"dir/a":               {nil, []byte("a")},
		"dir/b":               {nil, []byte("bb")},
		"dir/sub/c":           {nil, []byte("ccc")},
		"odd/ä +&=%25?#~'(ü)": {nil, []byte("odd")},
		"sum":                 {[]string{"X-Amz-Checksum-Sha256: LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="}, []byte("hello")},
	}
}

const (
	partsKey = "parts"
	openKey  = "open"
)

var (
	firstPart = sync.OnceValue(func() []byte { return bytes.Repeat([]byte("0123456789abcdef"), 5<<16) }) // the least that is not the last
	lastPart  = func() []byte { return []byte("and the end") }
)

// must sends a request of the fixture, which has to succeed.
func (s *side) must(line string, body []byte) (answer, error) {
	c, err := parseTrial("fixture | " + line)
	if err != nil {
		return answer{}, err
	}
	if body != nil {
		c.body, c.hasBody = body, true
	}
	a, err := s.send(c)
	if err != nil || a.status >= 300 {
		return a, fmt.Errorf("%s: %s: %s (%w)", s.name, line, a, err)
	}
	return a, nil
}

func (s *side) makeObject(key string) error {
	if key == partsKey {
		return s.makeParts()
	}
	o := fixtureObjects()[key]
	line := strings.Join(append([]string{"PUT /{bucket}/" + s3op.EscapePath(key)}, o.header...), " | ")
	_, err := s.must(line, append([]byte{}, o.body...))
	return err
}

func (s *side) makeUpload(key string) (string, error) {
	var made struct{ UploadId string }
	a, err := s.must("POST /{bucket}/"+key+"?uploads | Content-Type: text/x-parts | X-Amz-Meta-Made: in parts", nil)
	if err == nil {
		err = xml.Unmarshal(a.body, &made)
	}
	for n, part := range [][]byte{firstPart(), lastPart()} {
		if err == nil {
			_, err = s.must(fmt.Sprintf("PUT /{bucket}/%s?partNumber=%d&uploadId=%s", key, n+1, made.UploadId), part)
		}
	}
	return made.UploadId, err
}

func (s *side) makeParts() error {
	id, err := s.makeUpload(partsKey)
	if err == nil {
		_, err = s.must("POST /{bucket}/"+partsKey+"?uploadId="+id, []byte(s.fill(
			`<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"{part1}"</ETag></Part><Part><PartNumber>2</PartNumber><ETag>"{part2}"</ETag></Part></CompleteMultipartUpload>`)))
	}
	return err
}

// makeOpen makes the open upload anew, and leaves no other.
func (s *side) makeOpen() error {
	_, ids, err := s.uploads(everyKey)
	for id, key := range ids {
		if err == nil {
			_, err = s.must("DELETE /{bucket}/"+s3op.EscapePath(key)+"?uploadId="+id, nil)
		}
	}
	if err != nil {
		return err
	}
	id, err := s.makeUpload(openKey)
	s.ids = map[string]string{"upload": id}
	return err
}

// uploads are the parts of the open uploads, by key, and the keys by the uploads' ids. Parts that were seen are looked at again
// where their key is named.
func (s *side) uploads(isNamed func(key string) bool) (uploads map[string]string, ids map[string]string, err error) {
	var list struct {
		Upload []struct{ Key, UploadId string }
	}
	a, err := s.must("GET /{bucket}?uploads", nil)
	if err == nil {
		err = xml.Unmarshal(a.body, &list)
	}
	uploads, ids = make(map[string]string), make(map[string]string)
	for _, u := range list.Upload {
		ids[u.UploadId] = u.Key
		if parts, ok := s.parts[u.UploadId]; ok && !isNamed(u.Key) {
			uploads[u.Key] += parts
			continue
		}
		var parts struct {
			Part []struct{ PartNumber, ETag, Size string }
		}
		if a, err = s.must("GET /{bucket}/"+s3op.EscapePath(u.Key)+"?uploadId="+u.UploadId, nil); err == nil {
			err = xml.Unmarshal(a.body, &parts)
		}
		if err != nil {
			return nil, nil, err
		}
		s.parts[u.UploadId] = fmt.Sprint(parts.Part)
		uploads[u.Key] += s.parts[u.UploadId]
	}
	return uploads, ids, err
}

// contents are what a bucket has: objects by key, each by its properties, and uploads.
type contents struct {
	objects map[string]map[string]string
	uploads map[string]string
}

// flat is all of it in one map.
func (c contents) flat() map[string]string {
	all := make(map[string]string)
	for key, object := range c.objects {
		for name, value := range object {
			all["left in "+key+": "+name] = value
		}
	}
	for key, parts := range c.uploads {
		all["left in upload of "+key] = parts
	}
	return all
}

// mirror is what was seen of a region's objects. Those whose line in the listing is as it was are not looked at again,
// but for those that a request names: its tags are not in the listing.
type mirror struct {
	of     *region.Region
	listed map[string]region.ListedObject
	held   map[string]map[string]string
}

func (m *mirror) objects(ctx context.Context, isNamed func(key string) bool) (map[string]map[string]string, error) {
	page, err := m.of.List(ctx, region.ListOptions{})
	if err != nil {
		return nil, err
	}
	old, oldHeld := m.listed, m.held
	m.listed, m.held = make(map[string]region.ListedObject), make(map[string]map[string]string)
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(6)
	for _, o := range page.Objects {
		if s3op.IsReserved(o.Key) {
			continue
		}
		m.listed[o.Key] = o
		if old[o.Key] == o && !isNamed(o.Key) {
			mu.Lock()
			m.held[o.Key] = oldHeld[o.Key]
			mu.Unlock()
			continue
		}
		group.Go(func() error {
			found, err := m.object(ctx, o)
			mu.Lock()
			defer mu.Unlock()
			m.held[o.Key] = found
			return err
		})
	}
	err = group.Wait()
	return maps.Clone(m.held), err
}

func (m *mirror) object(ctx context.Context, o region.ListedObject) (map[string]string, error) {
	a, err := m.of.Head(ctx, o.Key, http.Header{"X-Amz-Checksum-Mode": {"ENABLED"}})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Key, err)
	}
	tags, err := m.of.Tags(ctx, o.Key)
	if err != nil {
		return nil, fmt.Errorf("tags of %s: %w", o.Key, err)
	}
	if a.ETag() != o.ETag || a.Size() != o.Size {
		return nil, fmt.Errorf("%s is listed as %+v, and shown as %+v", o.Key, o, a)
	}
	found := headerLines(s3op.StoredHeaders(a.Header))
	maps.Copy(found, headerLines(s3op.ChecksumHeaders(a.Header)))
	found["ETag"], found["size"], found["tags"] = a.ETag(), strconv.FormatInt(a.Size(), 10), tags
	return found, nil
}

// forget has a key looked at again, whatever the listing says of it.
func (m *mirror) forget(key string) { delete(m.listed, key) }

// rig has both sides, and what is beneath them.
type rig struct {
	g             *gateway
	direct, front *side
	// alone is the region that is asked directly; active and replica are those of the gateway.
	alone, active, replica mirror
	// start is what both sides have before every request.
	start contents
}

// both does the same on both sides at once.
func (r *rig) both(t *testing.T, f func(*side) error) {
	t.Helper()
	var group errgroup.Group
	group.Go(func() error { return f(r.direct) })
	group.Go(func() error { return f(r.front) })
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

// reset makes both sides what they were at the start, where either is not.
func (r *rig) reset(t *testing.T, direct, front contents) {
	t.Helper()
	keys, uploadsChanged := make(map[string]bool), false
	for _, c := range []contents{direct, front} {
		for key := range c.objects {
			keys[key] = keys[key] || !maps.Equal(c.objects[key], r.start.objects[key])
		}
		for key := range r.start.objects {
			keys[key] = keys[key] || c.objects[key] == nil
		}
		uploadsChanged = uploadsChanged || !maps.Equal(c.uploads, r.start.uploads)
	}
	for key, isOther := range keys {
		for _, m := range []*mirror{&r.alone, &r.active, &r.replica} {
			if isOther {
				m.forget(key)
			}
		}
	}
	r.both(t, func(s *side) error {
		now := direct
		if s == r.front {
			now = front
		}
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			var err error
			switch {
			case !keys[key]:
			case r.start.objects[key] != nil:
				err = s.makeObject(key)
			case now.objects[key] != nil:
				_, err = s.must("DELETE /{bucket}/"+s3op.EscapePath(key), nil)
			}
			if err != nil {
				return err
			}
		}
		if uploadsChanged {
			return s.makeOpen()
		}
		return nil
	})
}

// look returns what both sides have.
func (r *rig) look(t *testing.T, isNamed func(key string) bool) (direct, front contents) {
	t.Helper()
	r.both(t, func(s *side) (err error) {
		into, where := &direct, &r.alone
		if s == r.front {
			into, where = &front, &r.active
		}
		if into.objects, err = where.objects(t.Context(), isNamed); err == nil {
			into.uploads, _, err = s.uploads(isNamed)
		}
		return err
	})
	return direct, front
}

// checkReplica waits until nothing is pending, and compares the replica with the active.
func (r *rig) checkReplica(t *testing.T, active contents, isNamed func(key string) bool) {
	t.Helper()
	eventually(t, "nothing is pending", func() bool { return r.g.state(t).region(secondary).Pending.Keys == 0 })
	replica, err := r.replica.objects(t.Context(), isNamed)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(active.objects, replica); diff != "" {
		t.Errorf("the replica is not what the active is (-active +replica):\n%s", diff)
	}
}
