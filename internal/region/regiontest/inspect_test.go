package regiontest_test

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/region/regiontest"
)

func TestHookSeesEveryChangeInItsOrder(t *testing.T) {
	s, c := newRegion(t, smallParts)
	var got []string
	s.OnApply(func(q regiontest.Request, before, after *regiontest.Object) {
		data := func(o *regiontest.Object) string {
			if o == nil {
				return "nothing"
			}
			return fmt.Sprintf("%s%v", o.Data, o.Tags)
		}
		got = append(got, fmt.Sprintf("%s %s: %s -> %s", q.Operation, q.Key, data(before), data(after)))
	})
	put(t, c, "k", "v1")
	put(t, c, "k", "v2", func(in *s3.PutObjectInput) { in.Tagging = new("a=1") })
	wantError(t, putIf(t, c, "k", "", "*"), 412, "")
	if _, err := c.DeleteObjectTagging(t.Context(), &s3.DeleteObjectTaggingInput{Bucket: new(bucket), Key: new("k")}); err != nil {
		t.Fatal(err)
	}
	_, err := c.DeleteObjects(t.Context(), &s3.DeleteObjectsInput{Bucket: new(bucket),
		Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: new("k")}, {Key: new("never")}}}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"PutObject k: nothing -> v1map[]",
		"PutObject k: v1map[] -> v2map[a:1]",
		"DeleteObjectTagging k: v2map[a:1] -> v2map[]",
		"DeleteObjects k: v2map[] -> nothing",
		"DeleteObjects never: nothing -> nothing",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestRegionsWithTheSameContentHaveEqualSnapshots(t *testing.T) {
	a, ca := newRegion(t)
	b, cb := newRegion(t)
	put(t, ca, "k", "v", func(in *s3.PutObjectInput) { in.Metadata = map[string]string{"m": "1"} })
	put(t, cb, "k", "v", func(in *s3.PutObjectInput) {
		in.Metadata, in.ChecksumAlgorithm = map[string]string{"m": "1"}, types.ChecksumAlgorithmSha256
	})
	if d := cmp.Diff(a.Snapshot(), b.Snapshot()); d != "" {
		t.Errorf("-a +b\n%s", d)
	}
	put(t, cb, "k", "v", func(in *s3.PutObjectInput) { in.Metadata = map[string]string{"m": "2"} })
	if cmp.Equal(a.Snapshot(), b.Snapshot()) {
		t.Error("other metadata did not show")
	}
}

func TestWhatInspectionReturnsIsACopy(t *testing.T) {
	s := regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}})
	data := []byte("abc")
	o := s.Put(bucket, "k", data, func(o *regiontest.Object) { o.Metadata["m"] = "1" })
	data[0], o.Data[1], o.Metadata["m"] = 'X', 'X', "X"
	got, _ := s.Object(bucket, "k")
	if string(got.Data) != "abc" || got.Metadata["m"] != "1" {
		t.Errorf("got %q, %v", got.Data, got.Metadata)
	}
	if !s.Remove(bucket, "k") || s.Remove(bucket, "k") {
		t.Error("Remove did not say what it found")
	}
}

func TestLogCountsAndIsBounded(t *testing.T) {
	s, c := newRegion(t)
	for range 20_500 {
		s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("HEAD", "/"+bucket, nil))
	}
	put(t, c, "a//b", "x")
	log := s.Requests()
	last := log[len(log)-1]
	if s.Count("HeadBucket") != 20_500 || s.Count("PutObject") != 1 || last.Operation != "PutObject" || last.Key != "a//b" {
		t.Errorf("got counts %d, %d; last %+v", s.Count("HeadBucket"), s.Count("PutObject"), last)
	}
	if first := log[0].Attempt; len(log) < 10_000 || first != 20_502-len(log) {
		t.Errorf("log has %d requests, the first of them number %d", len(log), first)
	}
}

func TestConcurrentWritersOfOneKeyAreSerialized(t *testing.T) {
	s, c := newRegion(t)
	var mu sync.Mutex
	last := ""
	s.OnApply(func(_ regiontest.Request, before, after *regiontest.Object) {
		mu.Lock()
		defer mu.Unlock()
		if before != nil && before.ETag != last {
			t.Errorf("a change began at %s, the one before ended at %s", before.ETag, last)
		}
		last = after.ETag
	})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 20 {
				_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new(bucket), Key: new("k"), Body: strings.NewReader(fmt.Sprint(i, j))})
				if err != nil {
					t.Error(err)
				}
				s.Snapshot()
			}
		})
	}
	wg.Wait()
}

func discarding(o *regiontest.Options) { o.Discard = true }

func TestDiscardKeepsEverythingButTheBytes(t *testing.T) {
	s, c := newRegion(t, discarding)
	out := put(t, c, "k", strings.Repeat("x", 1000), func(in *s3.PutObjectInput) { in.ContentType = new("text/plain") })
	again := put(t, c, "k", strings.Repeat("y", 1000))
	if *out.ETag != *again.ETag || len(*out.ETag) != 34 {
		t.Errorf("got ETags %s and %s", *out.ETag, *again.ETag)
	}
	want, _ := io.ReadAll(regiontest.Pattern(0, 1000))
	if got, _ := get(t, c, "k"); got != string(want) {
		t.Error("got other bytes than the pattern")
	}
	if got, _ := get(t, c, "k", func(in *s3.GetObjectInput) { in.Range = new("bytes=13-77") }); got != string(want[13:78]) {
		t.Error("got other bytes than the pattern in a range")
	}
	if o, _ := s.Object(bucket, "k"); o.Data != nil || o.Size != 1000 {
		t.Errorf("holds %d bytes of %d", len(o.Data), o.Size)
	}
	id := create(t, c, "mp")
	parts := []types.CompletedPart{uploadPart(t, c, "mp", id, 1, make([]byte, 5<<20)), uploadPart(t, c, "mp", id, 2, []byte("x"))}
	if _, err := complete(t, c, "mp", id, parts); err != nil {
		t.Fatal(err)
	}
	if _, whole := get(t, c, "mp"); *whole.ContentLength != 5<<20+1 || !strings.HasSuffix(*whole.ETag, `-2"`) {
		t.Errorf("got %d bytes, ETag %s", *whole.ContentLength, *whole.ETag)
	}
}

func TestDiscardStillVerifiesWhatIsClaimed(t *testing.T) {
	s := regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}, Discard: true})
	url := regiontest.Start(t, s) + "/" + bucket + "/k"
	for _, h := range []string{"X-Amz-Checksum-Crc32", "X-Amz-Checksum-Crc32c"} {
		if res, _ := raw(t, "PUT", url, strings.NewReader("body"), map[string][]string{h: {"AAAAAA=="}}); res.StatusCode != 400 {
			t.Errorf("%s: got %d", h, res.StatusCode)
		}
	}
}

func TestDiscardHoldsAnySizeInConstantMemory(t *testing.T) {
	s := regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}, Discard: true})
	url := regiontest.Start(t, s) + "/" + bucket + "/k"
	const size = 64 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	req, err := http.NewRequestWithContext(t.Context(), "PUT", url, regiontest.Pattern(0, size))
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = size
	for _, req := range []*http.Request{req, httptest.NewRequestWithContext(t.Context(), "GET", url, nil)} {
		req.RequestURI = ""
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != 200 || (req.Method == "GET" && n != size) {
			t.Errorf("%s: got %d, %d bytes, %v", req.Method, res.StatusCode, n, err)
		}
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 4<<20 {
		t.Errorf("allocated %d KiB for an object of %d MiB", got>>10, size>>20)
	}
	if o, _ := s.Object(bucket, "k"); o.Size != size {
		t.Errorf("got %d bytes", o.Size)
	}
}

func TestPatternTellsEveryOffsetApart(t *testing.T) {
	whole, err := io.ReadAll(regiontest.Pattern(0, 1<<16))
	if err != nil {
		t.Fatal(err)
	}
	for _, span := range [][2]int64{{0, 8}, {3, 2}, {3, 20}, {8, 8}, {65_000, 536}, {5, 0}} {
		got, err := io.ReadAll(regiontest.Pattern(span[0], span[1]))
		if err != nil || !bytes.Equal(got, whole[span[0]:span[0]+span[1]]) {
			t.Errorf("span %v: differs, %v", span, err)
		}
	}
	var sums []string
	for i := 0; i < len(whole); i += 8 {
		sums = append(sums, fmt.Sprintf("%x", md5.Sum(whole[i:i+8])))
	}
	slices.Sort(sums)
	if n := len(slices.Compact(sums)); n != 1<<13 {
		t.Errorf("only %d of %d words differ", n, 1<<13)
	}
}
