package region_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/region/regiontest"
)

// A checksum that comes behind the body reaches the region behind it, whatever the size, where that takes it there; and the
// body does in any case.
func TestAChecksumBehindTheBodyIsPassedOn(t *testing.T) {
	for name, traits := range map[string]regiontest.Options{"taken": {}, "refused": {NoTrailers: true}} {
		t.Run(name, func(t *testing.T) {
			traits.Buckets = []string{"b"}
			server := regiontest.NewServer(traits)
			r, err := region.New(t.Context(), region.Config{
				Name: "r", Endpoint: regiontest.Start(t, server), Bucket: "b", AccessKey: "k", SecretKey: "s", ForcePathStyle: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, size := range []int{1, 1 << 16, 1<<16 + 1, 300_000} {
				data := bytes.Repeat([]byte("x"), size)
				sum := base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(data)))
				answer, err := r.Pass(t.Context(), region.Passed{
					Operation: "PutObject", Method: http.MethodPut, Key: "k", Header: http.Header{"Content-Encoding": {"gzip"}},
					Body: io.MultiReader(bytes.NewReader(data)), Size: int64(size),
					Trailer: region.Trailer{Name: "X-Amz-Checksum-Crc32", Value: func() string { return sum }},
				})
				if err != nil {
					t.Fatal(err)
				}
				_ = answer.Body.Close()
				held, _ := server.Object("b", "k")
				if string(held.Data) != string(data) || held.Header["Content-Encoding"] != "gzip" {
					t.Errorf("%d bytes: got %d, %v", size, len(held.Data), held.Header)
				}
				if got, err := r.Head(t.Context(), "k", http.Header{"X-Amz-Checksum-Mode": {"ENABLED"}}); err != nil || (got.Header.Get("X-Amz-Checksum-Crc32") == sum) != !traits.NoTrailers {
					t.Errorf("%d bytes: got %v (%v)", size, got.Header, err)
				}
			}
			if _, err := r.Pass(t.Context(), region.Passed{
				Operation: "PutObject", Method: http.MethodPut, Key: "none", Body: strings.NewReader("x"), Size: 1,
				Trailer: region.Trailer{Name: "X-Amz-Checksum-Md6"},
			}); !traits.NoTrailers && region.OutcomeOf(err) != region.NotSent {
				t.Errorf("an unknown checksum: got %v", err)
			}
		})
	}
}
