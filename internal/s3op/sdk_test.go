package s3op_test

import (
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/gnew/tandem/internal/s3op"
)

// What the SDK sends for each of its operations is taken for that operation: in
// both styles of address, with as little as it takes and with every parameter
// and header that there is. An operation that the SDK gains fails here.
func TestEveryRequestOfTheSDKIsTakenForWhatItIs(t *testing.T) {
	for _, isFull := range []bool{false, true} {
		for _, isPathStyle := range []bool{true, false} {
			for _, op := range sdkOperations() {
				r := capture(t, op, isPathStyle, isFull)
				domain := ""
				if !isPathStyle {
					domain = "s3.test"
				}
				bucket, key, err := s3op.ParseTarget(r.URL.Host, r.URL.EscapedPath(), domain)
				if op == "WriteGetObjectResponse" {
					// Its route before the host and its path pass for a bucket and a key of that name.
					bucket, key, err = "bucket", "", nil
				}
				if err != nil {
					t.Errorf("%s: %s %s%s: %v", op, r.Method, r.URL.Host, r.URL.RequestURI(), err)
					continue
				}
				info, err := s3op.Classify(r.Method, bucket, key, r.URL.RawQuery, r.Header)
				wantKind := s3op.Internal // of nil
				if info.Class == s3op.Refused {
					wantKind = s3op.NotImplemented
				}
				if string(info.Operation) != op || s3op.KindOf(err) != wantKind {
					t.Errorf("%s %s%s: got %s, %v, want %s", r.Method, r.URL.Host, r.URL.RequestURI(), info.Operation, err, op)
				}
			}
		}
	}
}

func TestTableHasWhatTheSDKHas(t *testing.T) {
	beyond := map[string]int{"PostObject": 1, "CORSPreflight": 2} // which the SDK does not send
	want := make(map[string]int)
	for _, op := range sdkOperations() {
		want[op] = 1
	}
	got := make(map[string]int)
	for _, info := range s3op.Operations() {
		got[string(info.Operation)]++
	}
	for op, times := range got {
		if times != want[op]+beyond[op] {
			t.Errorf("the table has %s %d times, want %d", op, times, want[op]+beyond[op])
		}
	}
	for op := range want {
		if got[op] == 0 {
			t.Errorf("the table lacks %s", op)
		}
	}
	if len(want) < 100 {
		t.Errorf("found only %d operations in the SDK", len(want))
	}
}

// sdkOperations returns the names of the SDK's operations: the methods of its
// client that take an input.
func sdkOperations() []string {
	var names []string
	client := reflect.TypeFor[*s3.Client]()
	for method := range client.Methods() {
		if f := method.Type; f.NumIn() == 4 && f.In(2).Kind() == reflect.Pointer && strings.HasSuffix(f.In(2).Elem().Name(), "Input") {
			names = append(names, method.Name)
		}
	}
	return names
}

// capture returns the request that the SDK sends for an operation, with all that
// its input has, or with what is required alone.
func capture(t *testing.T, operation string, isPathStyle, isFull bool) *http.Request {
	t.Helper()
	var sent *http.Request
	client := s3.New(s3.Options{
		Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("key", "secret", ""),
		BaseEndpoint: new("http://s3.test"), UsePathStyle: isPathStyle, DisableS3ExpressSessionAuth: new(true), Retryer: aws.NopRetryer{},
		HTTPClient: wire(func(r *http.Request) { sent = r }),
	})
	call := reflect.ValueOf(client).MethodByName(operation)
	input := reflect.New(call.Type().In(1).Elem())
	if isFull {
		for i := range input.Elem().NumField() {
			// An append has the name of a PutObject, and is refused.
			if name := input.Elem().Type().Field(i).Name; name != "WriteOffsetBytes" {
				fill(input.Elem().Field(i))
			}
		}
	}
	for {
		err, _ := call.Call([]reflect.Value{reflect.ValueOf(t.Context()), input})[1].Interface().(error)
		if sent != nil {
			return sent
		}
		missing, ok := errors.AsType[smithy.InvalidParamsError](err)
		if !ok {
			t.Fatalf("the SDK did not send %s: %v", operation, err)
		}
		for _, err := range missing.Errs() {
			required, _ := errors.AsType[*smithy.ParamRequiredError](err)
			name := strings.Split(required.Field(), ".")[1]
			field := input.Elem().FieldByName(name)
			if filled := !field.IsZero(); filled {
				t.Fatalf("%s: the test did not fill %s", operation, required.Field())
			}
			fill(field)
			if field.IsZero() {
				t.Fatalf("%s: the test cannot fill %s", operation, required.Field())
			}
		}
	}
}

// wire sees requests, which then go nowhere.
type wire func(*http.Request)

func (w wire) Do(r *http.Request) (*http.Response, error) {
	w(r)
	return nil, errors.New("seen")
}

// fill gives a value, and all that is in it, something that the SDK sends.
func fill(v reflect.Value) {
	if values := v.MethodByName("Values"); values.IsValid() { // of an enumeration
		v.Set(values.Call(nil)[0].Index(0))
		return
	}
	switch v.Type() {
	case reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Unix(1<<30, 0).UTC()))
		return
	case reflect.TypeFor[io.Reader]():
		v.Set(reflect.ValueOf(strings.NewReader("text")))
		return
	case reflect.TypeFor[types.ObjectEncryption](): // a union; the others are optional
		v.Set(reflect.ValueOf(&types.ObjectEncryptionMemberSSEKMS{Value: types.SSEKMSEncryption{KMSKeyArn: new("text")}}))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.String:
		v.SetString("text")
	case reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("text"), reflect.ValueOf("text"))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i))
			}
		}
	}
}
