package regiontest

import "net/http"

func (s *Server) headBucket(*call) (effect, error) {
	return func(*bucket) (*reply, error) {
		return &reply{header: http.Header{"X-Amz-Bucket-Region": {"us-east-1"}, "Content-Type": {"application/xml"}}}, nil
	}, nil
}

func (s *Server) createBucket(c *call) (effect, error) {
	if n := len(c.Bucket); n < 3 || n > 63 {
		return nil, fail("InvalidBucketName", "The specified bucket is not valid.")
	}
	return func(b *bucket) (*reply, error) {
		if b != nil {
			return nil, fail("BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it.")
		}
		s.mu.buckets[c.Bucket] = newBucket()
		return &reply{header: http.Header{"Location": {"/" + c.Bucket}}}, nil
	}, nil
}
