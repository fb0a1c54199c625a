package sim

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gnew/tandem/internal/config"
)

// secondBucket is what clients call the other bucket, where a world has two.
const secondBucket = "second"

// buckets are those that clients see.
func (w *world) buckets() []string {
	if w.hasTwo {
		return []string{w.bucket, secondBucket}
	}
	return []string{w.bucket}
}

// bucketOf is where a key of a client's is: in a world of two buckets every other one is in the second.
func (w *world) bucketOf(key string) string {
	if n, err := strconv.Atoi(strings.TrimPrefix(key, "k/")); w.hasTwo && err == nil && n%2 == 1 {
		return secondBucket
	}
	return w.bucket
}

// in is the region's own name for a bucket.
func (s *site) in(bucket string) string {
	if bucket == secondBucket {
		return s.bucket + "-2"
	}
	return s.bucket
}

// inBucket has a request name its bucket, where that is not the first.
func (w *world) inBucket(path, bucket string) string {
	if bucket == w.bucket {
		return path
	}
	separator := "?"
	if strings.Contains(path, "?") {
		separator = "&"
	}
	return path + separator + "bucket=" + url.QueryEscape(bucket)
}

// toBucket is a path, in the bucket of the key that it ends with.
func (w *world) toBucket(path string) string {
	for _, prefix := range []string{"/objects/", "/replication/"} {
		if key, ok := strings.CutPrefix(path, prefix); ok {
			key, _, _ = strings.Cut(key, "?")
			return w.inBucket(path, w.bucketOf(key))
		}
	}
	return path
}

// addSecond configures the other bucket, in every region.
func (w *world) addSecond(cfg *config.Config) {
	second := cfg.Buckets[0]
	second.Name, second.Regions = secondBucket, slices.Clone(second.Regions)
	for i := range second.Regions {
		second.Regions[i].Bucket = w.site(second.Regions[i].Region).in(secondBucket)
	}
	cfg.Buckets = append(cfg.Buckets, second)
}
