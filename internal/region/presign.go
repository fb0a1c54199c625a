package region

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gnew/tandem/internal/s3op"
)

// MaxPresign is how long a presigned URL may be good for at most, by Signature Version 4.
const MaxPresign = 7 * 24 * time.Hour

// Presigned is a request that anybody may send until it expires, without credentials.
type Presigned struct {
	Method, URL string
	// Header has to be sent with it, exactly.
	Header http.Header
	// ExpiresAt is to the second. It is sooner than was asked for where the region's credentials end before.
	ExpiresAt time.Time
}

// Presign signs a request for a key by query string, for the public endpoint. Nothing is sent. expires is at
// least a second and at most MaxPresign; the header is signed with it.
//
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
func (r *Region) Presign(ctx context.Context, method, key string, header http.Header, expires time.Duration) (Presigned, error) {
	const op = "Presign"
	if err := r.checkKey(key); err != nil {
		return Presigned{}, r.refuseKey(op, err)
	}
	credentials, err := r.credentials.Retrieve(ctx)
	if err != nil {
		return Presigned{}, &Error{Region: r.name, Operation: op, Outcome: NotSent, Err: fmt.Errorf("credentials: %w", err)}
	}
	now := time.Now().UTC().Truncate(time.Second)
	if credentials.CanExpire && credentials.Expires.Before(now.Add(expires)) {
		expires = credentials.Expires.Sub(now)
	}
	seconds := int64(max(expires, time.Second) / time.Second)
	u := *r.public
	u.Path, u.RawPath = u.Path+"/"+key, u.Path+"/"+s3op.EscapePath(key)
	u.RawQuery = url.Values{"X-Amz-Expires": {strconv.FormatInt(seconds, 10)}}.Encode()
	req, err := http.NewRequestWithContext(ctx, method, "http://region.invalid", nil)
	if err != nil {
		return Presigned{}, err
	}
	req.URL, req.Host, req.Header = &u, u.Host, header.Clone()
	signed, _, err := r.signer.PresignHTTP(ctx, credentials, req, unsignedPayload, "s3", r.s3Region, now)
	if err != nil {
		return Presigned{}, &Error{Region: r.name, Operation: op, Outcome: NotSent, Err: err}
	}
	return Presigned{Method: method, URL: signed, Header: header.Clone(), ExpiresAt: now.Add(time.Duration(seconds) * time.Second)}, nil
}
