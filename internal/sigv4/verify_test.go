package sigv4_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/gnew/tandem/internal/s3op"
	"github.com/gnew/tandem/internal/sigv4"
)

// emptyPut is an upload of nothing, signed by header with all that there is to sign.
func emptyPut(t testing.TB) *http.Request {
	t.Helper()
	r := received(t, lines("PUT /bucket/a%20b?b=2&a=1&a=0&c HTTP/1.1", "Host: "+host, "Content-Type: a/b", "X-Amz-Meta-One: 1", "X-Amz-Meta-Two:  a   b ", "Content-Length: 0"))
	c := sigv4.Credentials{AccessKey: accessKey, SecretKey: secretKey, SessionToken: "token"}
	if err := new(sigv4.Signer).Sign(r, c, region, sigv4.EmptySHA256, exampleTime()); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTamperedRequestsAreRefused(t *testing.T) {
	const mismatch = "SignatureDoesNotMatch"
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	replace := func(from, to string) func(*http.Request) {
		return func(r *http.Request) {
			before := r.Header.Get("Authorization")
			if r.Header.Set("Authorization", strings.Replace(before, from, to, 1)); r.Header.Get("Authorization") == before {
				t.Fatalf("%q is not in %q", from, before)
			}
		}
	}
	for _, tt := range []struct {
		what   string
		tamper func(*http.Request)
		code   string
	}{
		{"another method", func(r *http.Request) { r.Method = "DELETE" }, mismatch},
		{"another key", func(r *http.Request) { r.URL.Path += "c" }, mismatch},
		{"a key that cleans to the same", func(r *http.Request) { r.URL.Path = "/bucket/./a b" }, mismatch},
		{"a slash more", func(r *http.Request) { r.URL.Path = "/bucket//a b" }, mismatch},
		{"another value in the query", func(r *http.Request) { r.URL.RawQuery = "b=3&a=1&a=0&c" }, mismatch},
		{"a parameter more", func(r *http.Request) { r.URL.RawQuery += "&d" }, mismatch},
		{"a parameter less", func(r *http.Request) { r.URL.RawQuery = "b=2&a=1&a=0" }, mismatch},
		{"a parameter that cannot be decoded", func(r *http.Request) { r.URL.RawQuery += "&d=%4" }, "InvalidURI"},
		{"another host", func(r *http.Request) { r.Host = "other.example" }, mismatch},
		{"another content type", header("Content-Type", "c/d"), mismatch},
		{"another metadata", header("X-Amz-Meta-One", "2"), mismatch},
		{"metadata twice", func(r *http.Request) { r.Header.Add("X-Amz-Meta-One", "1") }, mismatch},
		{"metadata gone", func(r *http.Request) { r.Header.Del("X-Amz-Meta-One") }, mismatch},
		{"metadata more", header("X-Amz-Meta-Three", "3"), "AccessDenied"},
		{"another ACL", header("X-Amz-Acl", "public-read"), "AccessDenied"},
		{"another token", header("X-Amz-Security-Token", "other"), mismatch},
		{"another hash", header("X-Amz-Content-Sha256", strings.Repeat("0", 64)), mismatch},
		{"no hash", header("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"), mismatch},
		{"another time", header("X-Amz-Date", "20130524T000001Z"), mismatch},
		{"another signature", replace("Signature=", "Signature=0"), mismatch},
		{"a signature cut short", func(r *http.Request) {
			authorization := r.Header.Get("Authorization")
			r.Header.Set("Authorization", authorization[:len(authorization)-1])
		}, mismatch},
		{"fewer signed headers", replace("content-type;", ""), mismatch},
		{"no host", replace("host;", ""), "AccessDenied"},
		{"another region", replace("/us-east-1/", "/eu-west-1/"), mismatch},
		{"another key's owner", replace(accessKey, accessKey+"2"), "InvalidAccessKeyId"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			r := emptyPut(t)
			v := newVerifier(t, "")
			if _, err := verify(v, r, exampleTime()); err != nil {
				t.Fatalf("as it was signed: %v", err)
			}
			tt.tamper(r)
			kind := s3op.Denied
			if tt.code == "InvalidURI" {
				kind = s3op.Invalid
			}
			_, err := verify(v, r, exampleTime())
			checkError(t, err, kind, tt.code, "")
		})
	}
}

// TestSpaceAndOrderThatSignaturesIgnoreAreIgnored is of what proxies and clients change on the way, and nobody means.
func TestSpaceAndOrderThatSignaturesIgnoreAreIgnored(t *testing.T) {
	for what, change := range map[string]func(*http.Request){
		"space in a value":     func(r *http.Request) { r.Header.Set("X-Amz-Meta-Two", "a b") },
		"order of the query":   func(r *http.Request) { r.URL.RawQuery = "c=&a=0&b=2&&a=1&" },
		"escapes of the query": func(r *http.Request) { r.URL.RawQuery = "%62=2&a=%31&a=0&c" },
		"headers not signed":   func(r *http.Request) { r.Header.Set("Via", "1.1 proxy") },
		"user agent":           func(r *http.Request) { r.Header.Set("User-Agent", "other") },
		"commas without a space": func(r *http.Request) {
			r.Header.Set("Authorization", strings.ReplaceAll(r.Header.Get("Authorization"), ", ", ","))
		},
		"how the path is escaped": func(r *http.Request) { r.URL.RawPath = "/bucket/%61%20b" },
	} {
		r := emptyPut(t)
		change(r)
		if _, err := verify(newVerifier(t, region), r, exampleTime()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestRequestsThatSayNothingUsefulAreRefused(t *testing.T) {
	const good = "Credential=" + credential + ", SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=0"
	const malformed = "AuthorizationHeaderMalformed"
	instead := func(from, to string) string { return "AWS4-HMAC-SHA256 " + strings.Replace(good, from, to, 1) }
	for _, tt := range []struct {
		authorization string
		kind          s3op.Kind
		code, says    string
	}{
		{"AWS AKIAIOSFODNN7EXAMPLE:frJIUN8DYpKDtOLCwo//yllqDzg=", s3op.Invalid, "InvalidRequest", "Please use AWS4-HMAC-SHA256."},
		{"AWS4-ECDSA-P256-SHA256 " + good, s3op.NotImplemented, "NotImplemented", "asymmetric"},
		{"Bearer token", s3op.Invalid, "InvalidArgument", "Unsupported Authorization Type"},
		{"", s3op.Invalid, "InvalidArgument", "Unsupported Authorization Type"},
		{"AWS4-HMAC-SHA256", s3op.Invalid, malformed, "three components"},
		{"AWS4-HMAC-SHA256 " + good + ", Signature=1", s3op.Invalid, malformed, "three components"},
		{"AWS4-HMAC-SHA256 " + good + ", Other=1", s3op.Invalid, malformed, "three components"},
		{instead("Signature=0", "Signature="), s3op.Invalid, malformed, "three components"},
		{instead("Credential=", "Credentials="), s3op.Invalid, malformed, "three components"},
		{instead(accessKey, ""), s3op.Invalid, malformed, "the Credential is mal-formed"},
		{instead("/us-east-1", ""), s3op.Invalid, malformed, "the Credential is mal-formed"},
		{instead("us-east-1", strings.Repeat("x", 100)), s3op.Invalid, malformed, "the Credential is mal-formed"},
		{instead("us-east-1", "us\x01east"), s3op.Invalid, malformed, "the Credential is mal-formed"},
		{instead("/s3/", "/ec2/"), s3op.Invalid, malformed, `incorrect service "ec2"`},
		{instead("aws4_request", "aws5_request"), s3op.Invalid, malformed, `incorrect terminal "aws5_request"`},
		{instead("20130524", "2013-05-24"), s3op.Invalid, malformed, "incorrect date format"},
		{instead("20130524", "20130525"), s3op.Invalid, malformed, "Invalid credential date"},
		{instead("us-east-1", "eu-west-1"), s3op.Invalid, malformed, "the region 'eu-west-1' is wrong; expecting 'us-east-1'"},
		{instead("host;", "Host;"), s3op.Invalid, malformed, "SignedHeaders must be names in lower case"},
		{instead("host;", "host;host;"), s3op.Invalid, malformed, "SignedHeaders must be names in lower case"},
		{instead("host;", "zone;host;"), s3op.Invalid, malformed, "SignedHeaders must be names in lower case"},
		{instead("host;", ";host;"), s3op.Invalid, malformed, "SignedHeaders must be names in lower case"},
		{instead("host;", "host;"+strings.Repeat("o", 5000)+";"), s3op.Invalid, malformed, "SignedHeaders must be names in lower case"},
	} {
		r := received(t, lines("GET /bucket/key HTTP/1.1", "Host: "+host, "X-Amz-Date: 20130524T000000Z", "X-Amz-Content-Sha256: UNSIGNED-PAYLOAD"))
		r.Header.Set("Authorization", tt.authorization)
		_, err := verify(newVerifier(t, region), r, exampleTime())
		checkError(t, err, tt.kind, tt.code, tt.says)
	}
}

func TestWrongRegionNamesTheRightOne(t *testing.T) {
	presigned := received(t, lines("GET "+presignedExample+" HTTP/1.1", "Host: "+host))
	for code, r := range map[string]*http.Request{"AuthorizationHeaderMalformed": emptyPut(t), "AuthorizationQueryParametersError": presigned} {
		_, err := verify(newVerifier(t, "eu-west-1"), r, exampleTime())
		checkError(t, err, s3op.Invalid, code, "the region 'us-east-1' is wrong; expecting 'eu-west-1'")
		if e, ok := errors.AsType[*s3op.Error](err); !ok || e.Region != "eu-west-1" {
			t.Errorf("got %#v", err)
		}
	}
}

func TestAnonymousRequestsAreKnownAsSuch(t *testing.T) {
	_, err := sigv4.Parse(received(t, lines("GET /bucket/key?versionId=1 HTTP/1.1", "Host: "+host)))
	checkError(t, err, s3op.Denied, "AccessDenied", "Access Denied")
	if !errors.Is(err, sigv4.ErrAnonymous) {
		t.Errorf("got %v", err)
	}
	_, err = sigv4.Parse(received(t, lines("GET /bucket/key?AWSAccessKeyId=a&Signature=b&Expires=1 HTTP/1.1", "Host: "+host)))
	checkError(t, err, s3op.Invalid, "InvalidRequest", "Please use AWS4-HMAC-SHA256.")
	if errors.Is(err, sigv4.ErrAnonymous) {
		t.Error("version 2 passes for anonymous")
	}
}

func TestTwoSignaturesAreNone(t *testing.T) {
	for _, change := range []func(*http.Request){
		func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) },
		func(r *http.Request) { r.URL.RawQuery = strings.TrimPrefix(presignedExample, "/test.txt?") },
		func(r *http.Request) { r.URL.RawQuery = "AWSAccessKeyId=a&Signature=b&Expires=1" },
	} {
		r := emptyPut(t)
		change(r)
		_, err := sigv4.Parse(r)
		checkError(t, err, s3op.Invalid, "InvalidArgument", "Only one auth mechanism allowed")
	}
}

func TestHeadersOfAClaimMustBeGood(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		kind        s3op.Kind
		code, says  string
	}{
		{"X-Amz-Content-Sha256", "", s3op.Invalid, "InvalidRequest", "Missing required header for this request: x-amz-content-sha256"},
		{"X-Amz-Content-Sha256", "unsigned", s3op.Invalid, "InvalidArgument", "x-amz-content-sha256 must be"},
		{"X-Amz-Content-Sha256", sigv4.EmptySHA256[1:] + "g", s3op.Invalid, "InvalidArgument", "x-amz-content-sha256 must be"},
		{"X-Amz-Content-Sha256", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", s3op.NotImplemented, "NotImplemented", ""},
		{"X-Amz-Date", "", s3op.Denied, "AccessDenied", "requires a valid Date or x-amz-date header"},
		{"X-Amz-Date", "20130524T000000.5Z", s3op.Denied, "AccessDenied", "requires a valid Date or x-amz-date header"},
		{"X-Amz-Date", "Fri, 24 May 2013 00:00:00 GMT", s3op.Denied, "AccessDenied", "requires a valid Date or x-amz-date header"},
	} {
		r := emptyPut(t)
		r.Header.Set(tt.name, tt.value)
		_, err := sigv4.Parse(r)
		checkError(t, err, tt.kind, tt.code, tt.says)
	}
	r := emptyPut(t)
	r.Header.Del("X-Amz-Date")
	_, err := sigv4.Parse(r)
	checkError(t, err, s3op.Denied, "AccessDenied", "requires a valid Date or x-amz-date header")
	r.Header.Set("Date", "Fri, 24 May 2013 00:00:00 GMT")
	if claim, err := sigv4.Parse(r); err != nil || !claim.Time.Equal(exampleTime()) {
		t.Errorf("by its Date: got %v, %v", claim.Time, err)
	}
}

func TestClocksMayDifferByFifteenMinutes(t *testing.T) {
	r, v := emptyPut(t), newVerifier(t, region)
	for _, late := range []time.Duration{-sigv4.MaxSkew, 0, sigv4.MaxSkew} {
		if _, err := verify(v, r, exampleTime().Add(late)); err != nil {
			t.Errorf("%v late: %v", late, err)
		}
	}
	for _, late := range []time.Duration{-sigv4.MaxSkew - 1, sigv4.MaxSkew + 1} {
		_, err := verify(v, r, exampleTime().Add(late))
		checkError(t, err, s3op.Denied, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
	}
}

// presign returns a presigned GET, for so many seconds as the text says.
func presign(t testing.TB, expires string, header http.Header) *http.Request {
	t.Helper()
	r, err := http.NewRequest("GET", "https://"+host+"/bucket/key?X-Amz-Expires="+url.QueryEscape(expires), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header.Clone()
	u, signed, err := newSDKSigner().PresignHTTP(t.Context(), aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey, SessionToken: "a/b"},
		r, "UNSIGNED-PAYLOAD", "s3", region, exampleTime())
	if err != nil {
		t.Fatal(err)
	}
	if r.URL, err = url.Parse(u); err != nil {
		t.Fatal(err)
	}
	r.Header = signed
	r.Header.Del("Host")
	return r
}

func TestPresignedRequestsAreGoodUntilTheyExpire(t *testing.T) {
	r, v := presign(t, "60", http.Header{}), newVerifier(t, region)
	for _, late := range []time.Duration{-sigv4.MaxSkew, 0, time.Minute} {
		signed, err := verify(v, r, exampleTime().Add(late))
		if err != nil || !signed.IsPresigned || signed.SessionToken != "a/b" || signed.Expires != time.Minute {
			t.Errorf("%v late: %+v, %v", late, signed.Claim, err)
		}
	}
	_, err := verify(v, r, exampleTime().Add(time.Minute+1))
	checkError(t, err, s3op.Denied, "AccessDenied", "Request has expired")
	_, err = verify(v, r, exampleTime().Add(-sigv4.MaxSkew-1))
	checkError(t, err, s3op.Denied, "AccessDenied", "Request is not valid yet")
}

func TestPresignedRequestsAreForASecondToAWeek(t *testing.T) {
	for _, expires := range []string{"1", "604800"} {
		if _, err := verify(newVerifier(t, region), presign(t, expires, http.Header{}), exampleTime()); err != nil {
			t.Errorf("%s s: %v", expires, err)
		}
	}
	for expires, says := range map[string]string{
		"0": "at least 1 second", "-1": "must be non-negative", "604801": "must be less than a week", "1.5": "should be a number",
		"x": "should be a number", "99999999999999999999": "should be a number",
	} {
		_, err := verify(newVerifier(t, region), presign(t, expires, http.Header{}), exampleTime())
		checkError(t, err, s3op.Invalid, "AuthorizationQueryParametersError", says)
	}
}

func TestTamperedPresignedRequestsAreRefused(t *testing.T) {
	for _, tt := range []struct {
		what, from, to string
		kind           s3op.Kind
		code           string
	}{
		{"longer", "X-Amz-Expires=60", "X-Amz-Expires=600", s3op.Denied, "SignatureDoesNotMatch"},
		{"later", "T000000Z", "T000001Z", s3op.Denied, "SignatureDoesNotMatch"},
		{"a parameter more", "X-Amz-Date", "a=b&X-Amz-Date", s3op.Denied, "SignatureDoesNotMatch"},
		{"another token", "a%2Fb", "a%2Fc", s3op.Denied, "SignatureDoesNotMatch"},
		{"another signature", "X-Amz-Signature=", "X-Amz-Signature=0", s3op.Denied, "SignatureDoesNotMatch"},
		{"no host", "=host", "=accept", s3op.Denied, "AccessDenied"},
		{"a parameter twice", "X-Amz-Date", "X-Amz-Expires=61&X-Amz-Date", s3op.Invalid, "AuthorizationQueryParametersError"},
		{"without a date", "X-Amz-Date", "X-Amz-Dat", s3op.Invalid, "AuthorizationQueryParametersError"},
		{"a date that is none", "T000000Z", "T0:0:00Z", s3op.Invalid, "AuthorizationQueryParametersError"},
		{"a date of another day", "20130524T", "20130525T", s3op.Invalid, "AuthorizationQueryParametersError"},
		{"another algorithm", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA512", s3op.Invalid, "AuthorizationQueryParametersError"},
		{"the asymmetric algorithm", "AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256", s3op.NotImplemented, "NotImplemented"},
		{"another service", "%2Fs3%2F", "%2Fec2%2F", s3op.Invalid, "AuthorizationQueryParametersError"},
		{"a line in the region", "us-east-1", "us%0Aeast", s3op.Invalid, "AuthorizationQueryParametersError"},
		{"a line in the headers", "=host", "=host%0Aaccept:", s3op.Invalid, "AuthorizationQueryParametersError"},
		{"what cannot be decoded", "X-Amz-Date", "%zz&X-Amz-Date", s3op.Invalid, "InvalidURI"},
		{"a value that cannot be decoded", "T000000Z", "T000000%Z", s3op.Invalid, "InvalidURI"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			r := presign(t, "60", http.Header{})
			before := r.URL.RawQuery
			if r.URL.RawQuery = strings.Replace(before, tt.from, tt.to, 1); r.URL.RawQuery == before {
				t.Fatalf("%q is not in %q", tt.from, before)
			}
			_, err := verify(newVerifier(t, region), r, exampleTime())
			checkError(t, err, tt.kind, tt.code, "")
		})
	}
}

func TestHeadersThatPresigningLeftOutAreRefused(t *testing.T) {
	r := presign(t, "60", http.Header{"X-Amz-Acl": {"private"}})
	if _, err := verify(newVerifier(t, region), r, exampleTime()); err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Storage-Class", "GLACIER")
	_, err := verify(newVerifier(t, region), r, exampleTime())
	checkError(t, err, s3op.Denied, "AccessDenied", "There were headers present in the request which were not signed")
}

// TestStrangersPushNoKeysOut is of requests whose signatures are wrong: whatever they name, nothing is kept for them.
func TestStrangersPushNoKeysOut(t *testing.T) {
	v := newVerifier(t, "")
	for i := range 10 {
		r := emptyPut(t)
		r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "us-east-1", fmt.Sprint("region-", i), 1))
		_, err := verify(v, r, exampleTime())
		checkError(t, err, s3op.Denied, "SignatureDoesNotMatch", "")
	}
	if n := v.KeysHeld(); n != 0 {
		t.Errorf("%d keys are kept", n)
	}
	for range 3 {
		if _, err := verify(v, emptyPut(t), exampleTime()); err != nil {
			t.Fatal(err)
		}
	}
	if n := v.KeysHeld(); n != 1 {
		t.Errorf("%d keys are kept, want 1", n)
	}
}

func TestKeysOfOldDaysAreForgotten(t *testing.T) {
	v, s, most := newVerifier(t, ""), new(sigv4.Signer), 0
	for day := range 600 {
		r, now := emptyPut(t), exampleTime().AddDate(0, 0, day)
		if err := s.Sign(r, sigv4.Credentials{AccessKey: accessKey, SecretKey: secretKey, SessionToken: "t"}, region, sigv4.EmptySHA256, now); err != nil {
			t.Fatal(err)
		}
		if _, err := verify(v, r, now); err != nil {
			t.Fatal(err)
		}
		most = max(most, v.KeysHeld())
	}
	if most > 256 {
		t.Errorf("%d keys were kept", most)
	}
}

func TestVerifierNeedsSecrets(t *testing.T) {
	if _, err := sigv4.New(sigv4.Config{}); err == nil {
		t.Error("a verifier without secrets is made")
	}
}
