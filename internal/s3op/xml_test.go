package s3op_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gnew/tandem/internal/s3op"
)

func TestErrorDocumentsAreThoseOfS3(t *testing.T) {
	err := fmt.Errorf("wrapped: %w", &s3op.Error{
		Kind: s3op.NotFound, Code: "NoSuchKey", Message: "The specified key does not exist.", Region: "primary", Err: errors.New("inside"),
	})
	about := s3op.Subject{Resource: "/photos/a&b", BucketName: "photos", Key: "a&b", RequestID: "1", HostID: "2"}
	want := xml.Header + "<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message><Resource>/photos/a&amp;b</Resource>" +
		"<BucketName>photos</BucketName><Key>a&amp;b</Key><Region>primary</Region><RequestId>1</RequestId><HostId>2</HostId></Error>"
	if got := string(s3op.ErrorXML(err, about)); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
	want = xml.Header + "<Error><Code>SlowDown</Code><Message>wait</Message></Error>"
	if got := string(s3op.ErrorXML(s3op.NewError(s3op.Unavailable, "SlowDown", "wait"), s3op.Subject{})); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
}

func TestErrorDocumentsShowNothingOfTheInside(t *testing.T) {
	secret := errors.New("secret")
	for _, err := range []error{secret, s3op.WrapError(s3op.Unavailable, "ServiceUnavailable", "try again", secret), nil} {
		got := string(s3op.ErrorXML(err, s3op.Subject{}))
		if strings.Contains(got, "secret") || !strings.Contains(got, "<Code>InternalError</Code>") && !strings.Contains(got, "<Code>ServiceUnavailable</Code>") {
			t.Errorf("got %s of %v", got, err)
		}
	}
}
