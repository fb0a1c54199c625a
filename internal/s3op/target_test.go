package s3op_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gnew/tandem/internal/s3op"
)

func TestTargetsAreReadAsTheyWereSent(t *testing.T) {
	for _, tt := range []struct {
		host, path, domain string
		bucket, key        string
	}{
		{"s3.test", "/", "", "", ""},
		{"s3.test", "", "", "", ""},
		{"s3.test", "/photos", "", "photos", ""},
		{"s3.test", "/photos/", "", "photos", ""},
		{"s3.test", "/photos/a/b", "", "photos", "a/b"},
		{"s3.test", "/photos//a", "", "photos", "/a"},
		{"s3.test", "/photos///", "", "photos", "//"},
		{"s3.test", "/photos/a//b/", "", "photos", "a//b/"},
		{"s3.test", "/photos/.", "", "photos", "."},
		{"s3.test", "/photos/../other/k", "", "photos", "../other/k"},
		{"s3.test", "/photos/a%2Fb", "", "photos", "a/b"},
		{"s3.test", "/photos/%2F", "", "photos", "/"},
		{"s3.test", "/photos/a+b%2B%20c", "", "photos", "a+b+ c"},
		{"s3.test", "/photos/%2541", "", "photos", "%41"},
		{"s3.test", "/photos/%00%0A%C3%A9é?#", "", "photos", "\x00\néé?#"},
		{"s3.test", "/ph%6Ftos/k", "", "photos", "k"},
		// Without a domain, what the host says means nothing.
		{"photos.s3.test", "/other/k", "", "other", "k"},
		{"s3.test", "/photos/k", "s3.test", "photos", "k"},
		{"s3.test:8110", "/", "s3.test", "", ""},
		{"photos.s3.test", "/", "s3.test", "photos", ""},
		{"photos.s3.test", "", "s3.test", "photos", ""},
		{"photos.s3.test", "/a/b", "s3.test", "photos", "a/b"},
		{"photos.s3.test", "//a", "s3.test", "photos", "/a"},
		{"photos.s3.test:8110", "/k", "s3.test", "photos", "k"},
		{"PHOTOS.S3.Test", "/K", "s3.TEST", "photos", "K"},
		{"photos.s3.test.:8110", "/k", "s3.test", "photos", "k"},
		{"my.photos.s3.test", "/k", "s3.test", "my.photos", "k"},
		{"s3.test.s3.test", "/k", "s3.test", "s3.test", "k"},
		// Neither the domain nor below it.
		{"mys3.test", "/photos/k", "s3.test", "photos", "k"},
		{".s3.test", "/photos/k", "s3.test", "photos", "k"},
		{"127.0.0.1:8110", "/photos/k", "s3.test", "photos", "k"},
		{"[::1]:8110", "/photos/k", "s3.test", "photos", "k"},
		{"[::1]", "/photos/k", "s3.test", "photos", "k"},
		{"", "/photos/k", "s3.test", "photos", "k"},
	} {
		bucket, key, err := s3op.ParseTarget(tt.host, tt.path, tt.domain)
		if bucket != tt.bucket || key != tt.key || err != nil {
			t.Errorf("%s%s below %q: got %q and %q (%v), want %q and %q", tt.host, tt.path, tt.domain, bucket, key, err, tt.bucket, tt.key)
		}
	}
}

func TestIllegalTargetsAreRefused(t *testing.T) {
	for _, tt := range []struct{ host, path, domain, code string }{
		{"s3.test", "photos", "", "InvalidURI"},
		{"s3.test", "*", "", "InvalidURI"},
		{"s3.test", "/photos/%", "", "InvalidURI"},
		{"s3.test", "/photos/%2", "", "InvalidURI"},
		{"s3.test", "/photos/%zz", "", "InvalidURI"},
		{"s3.test", "/%zz/k", "", "InvalidURI"},
		{"s3.test", "/photos/%FF", "", "InvalidURI"},
		{"s3.test", "/photos/\xff", "", "InvalidURI"},
		{"s3.test", "/photos/" + strings.Repeat("k", 1025), "", "KeyTooLongError"},
		{"s3.test", "//", "", "InvalidBucketName"},
		{"s3.test", "//photos/k", "", "InvalidBucketName"},
		{"s3.test", "/photos%2Fk", "", "InvalidBucketName"},
		{"s3.test", "/Photos/k", "", "InvalidBucketName"},
		{"a.s3.test", "/k", "s3.test", "InvalidBucketName"},
		{"a..b.s3.test", "/k", "s3.test", "InvalidBucketName"},
	} {
		bucket, key, err := s3op.ParseTarget(tt.host, tt.path, tt.domain)
		e, ok := errors.AsType[*s3op.Error](err)
		if !ok || e.Code != tt.code || e.Kind != s3op.Invalid || bucket != "" || key != "" {
			t.Errorf("%s%s: got %q and %q (%v), want %s", tt.host, tt.path, bucket, key, err, tt.code)
		}
	}
}

func TestBucketNamesThatS3Allows(t *testing.T) {
	for name, want := range map[string]bool{
		"abc": true, "a-b": true, "a.b": true, "a.-b": true, "1234": true, "1.2.3": true, "1.2.3.4.5": true, strings.Repeat("a", 63): true,
		"": false, "ab": false, strings.Repeat("a", 64): false, "Abc": false, "a_b": false, "a b": false, "abé": false, "a/b": false, "a\x00b": false,
		"-ab": false, "ab-": false, ".ab": false, "ab.": false, "a..b": false, "192.168.5.4": false,
	} {
		err := s3op.CheckBucket(name)
		e, _ := errors.AsType[*s3op.Error](err)
		if (err == nil) != want || err != nil && (e.Code != "InvalidBucketName" || e.Kind != s3op.Invalid) {
			t.Errorf("%q: got %v, want it allowed: %v", name, err, want)
		}
	}
}
