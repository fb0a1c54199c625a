package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/audit"
)

// decode is the encoding read back, and what comes after it. That it exists is the
// proof that no two entries share an encoding.
func decode(b []byte) (audit.Entry, []byte, error) {
	var fields [9]string
	for i := range fields {
		digits, rest, ok := bytes.Cut(b, []byte(":"))
		n, err := strconv.Atoi(string(digits))
		if !ok || err != nil || n < 0 || n >= len(rest) || rest[n] != ',' {
			return audit.Entry{}, nil, fmt.Errorf("field %d is no netstring: %q", i, b)
		}
		fields[i], b = string(rest[:n]), rest[n+1:]
	}
	index, err1 := strconv.ParseInt(fields[0], 10, 64)
	micros, err2 := strconv.ParseInt(fields[1], 10, 64)
	return audit.Entry{
		Index: index, At: time.UnixMicro(micros).UTC(), Action: audit.Action(fields[2]), Actor: fields[3],
		Bucket: fields[4], Key: fields[5], Version: fields[6], Region: fields[7], Detail: fields[8],
	}, b, errors.Join(err1, err2)
}

func FuzzDifferentEntriesNeverShareAnEncoding(f *testing.F) {
	f.Add(int64(1), int64(0), "write", "client", "photos", "cats/1.jpg", "1-1", "primary", "{}")
	f.Add(int64(-1), int64(-1), "", "", "", "", "", "", "")
	f.Add(int64(math.MinInt64), int64(math.MinInt64), "0:,", ",", ":", "5:a,b", "\x00", "\xff", "1:2,")
	f.Add(int64(math.MaxInt64), int64(math.MaxInt64), "a", "b", "cd", "ef\n", strings.Repeat("v", 2000), "größe", "–")
	f.Fuzz(func(t *testing.T, index, micros int64, action, actor, bucket, key, version, region, detail string) {
		e := audit.Entry{
			Index: index, At: time.UnixMicro(micros).UTC(), Action: audit.Action(action), Actor: actor,
			Bucket: bucket, Key: key, Version: version, Region: region, Detail: detail,
		}
		// Followed by another entry it still ends where it did.
		both := entry(7).AppendEncoding(e.AppendEncoding(nil))
		first, rest, err := decode(both)
		if err != nil || first != e {
			t.Fatalf("got %+v, %v, want %+v", first, err, e)
		}
		if second, rest, err := decode(rest); err != nil || second != entry(7) || len(rest) > 0 {
			t.Fatalf("got %+v, %q, %v after it", second, rest, err)
		}
	})
}

// A field that is added to Entry and forgotten in the encoding could be changed unseen.
func TestEveryFieldIsInTheHash(t *testing.T) {
	e := entry(1)
	want := audit.Link(audit.Hash{}, e)
	fields := reflect.TypeFor[audit.Entry]()
	for i := range fields.NumField() {
		changed := e
		switch field := reflect.ValueOf(&changed).Elem().Field(i); field.Kind() {
		case reflect.Int64:
			field.SetInt(field.Int() + 1)
		case reflect.String:
			field.SetString(field.String() + "x")
		default:
			field.Set(reflect.ValueOf(e.At.Add(time.Microsecond)))
		}
		if audit.Link(audit.Hash{}, changed) == want {
			t.Errorf("%s is not in the hash", fields.Field(i).Name)
		}
	}
	if audit.Link(audit.Hash{1}, e) == want {
		t.Error("the hash before is not in the hash")
	}
}

func TestAnEntryHasOneEncodingWhateverItsTimeZone(t *testing.T) {
	e := entry(1)
	there := e
	there.At = e.At.In(time.FixedZone("there", 3600)).Add(999 * time.Nanosecond)
	if got, want := there.AppendEncoding(nil), e.AppendEncoding(nil); !bytes.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestJournalsShareNoHash(t *testing.T) {
	a, b := link("a", entry(1), entry(2)), link("b", entry(1), entry(2))
	if audit.Genesis("a") == audit.Genesis("b") || a[0].Hash == b[0].Hash || a[1].Hash == b[1].Hash {
		t.Error("two journals share a hash")
	}
}

func TestHashesHaveOneForm(t *testing.T) {
	want := audit.Genesis(journalID)
	if got, err := audit.ParseHash(want.String()); err != nil || got != want {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	var got struct{ Head audit.Hash }
	data, err := json.Marshal(struct{ Head audit.Hash }{want})
	if err := errors.Join(err, json.Unmarshal(data, &got)); err != nil || got.Head != want || string(data) != `{"Head":"`+want.String()+`"}` {
		t.Errorf("got %s, %v, %v", data, got.Head, err)
	}
	zero := audit.Hash{}.String()
	for _, s := range []string{
		"", "AAAA", want.String() + "AAAA", want.String()[1:], zero[:43], zero[:20] + "\n" + zero[20:], zero[:42] + "B=", strings.Repeat("-", 43) + "=",
	} {
		if h, err := audit.ParseHash(s); err == nil {
			t.Errorf("%q: got %v, want an error", s, h)
		}
	}
}

func TestLinkDoesNotAllocate(t *testing.T) {
	small, large := entry(1), entry(1)
	large.Key, large.Detail = strings.Repeat("k", 1024), strings.Repeat("d", 5000)
	for _, tt := range []struct {
		name  string
		entry audit.Entry
		want  float64
	}{{"ordinary", small, 0}, {"large", large, 1}} {
		var h audit.Hash
		if got := testing.AllocsPerRun(100, func() { h = audit.Link(h, tt.entry) }); got > tt.want {
			t.Errorf("%s: got %v allocations, want %v", tt.name, got, tt.want)
		}
	}
	room := make([]byte, 0, 1024)
	if got := testing.AllocsPerRun(100, func() { room = small.AppendEncoding(room[:0]) }); got > 0 {
		t.Errorf("got %v allocations of an encoding with room for it", got)
	}
}

func BenchmarkLink(b *testing.B) {
	for _, detail := range []int{20, 5000} {
		b.Run(fmt.Sprintf("detail=%d", detail), func(b *testing.B) {
			e := entry(1)
			e.Detail = strings.Repeat("d", detail)
			b.ReportAllocs()
			var h audit.Hash
			for b.Loop() {
				h = audit.Link(h, e)
			}
		})
	}
}

func BenchmarkAppendEncoding(b *testing.B) {
	e := entry(1)
	room := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		room = e.AppendEncoding(room[:0])
	}
}
