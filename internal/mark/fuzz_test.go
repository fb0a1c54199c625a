package mark_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/mark"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/region/regiontest"
)

// marksInMemory are what a journal has recorded of one region.
type marksInMemory struct {
	recorded  journal.Mark
	regressed map[string]string
}

const (
	ourJournal, ourEpoch, ourSequence = "j", 3, 10
)

func (*marksInMemory) State(context.Context) (journal.State, error) {
	return journal.State{JournalID: ourJournal, Epoch: ourEpoch, Active: "a"}, nil
}
func (*marksInMemory) Position(context.Context) (int64, error) { return ourSequence, nil }
func (j *marksInMemory) Mark(context.Context, string, string) (journal.Mark, error) {
	return j.recorded, nil
}
func (j *marksInMemory) SetMark(_ context.Context, _, _ string, m journal.Mark) error {
	j.recorded = m
	return nil
}
func (j *marksInMemory) Regress(_ context.Context, _, region, why string) error {
	j.regressed = map[string]string{region: why}
	return nil
}
func (j *marksInMemory) Regressed(context.Context, string) (map[string]string, error) {
	return j.regressed, nil
}
func (*marksInMemory) Verified(context.Context, string, string) (bool, error) { return true, nil }

// inProcess hands requests to a region in memory.
type inProcess struct{ *regiontest.Server }

func (s inProcess) RoundTrip(q *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	q = q.Clone(q.Context())
	if q.Body == nil {
		q.Body = http.NoBody
	}
	s.ServeHTTP(w, q)
	return w.Result(), nil
}

// FuzzMarkIsOursOrTheRegionIsLeftAlone is of whatever a region holds as its mark: the region is
// refused, untouched; or it is ours, perhaps regressed, and can be marked anew, later than before.
func FuzzMarkIsOursOrTheRegionIsLeftAlone(f *testing.F) {
	for _, data := range []string{
		``, `null`, `{}`, `{"journal":1}`, `{"journal":"j"`,
		`{"journal":"j","region":"a","active":"a","epoch":3,"sequence":10,"writtenAt":"2026-03-01T12:00:00.000001Z","checkpoint":"signed"}`,
		`{"journal":"j","region":"a","epoch":3,"sequence":9,"writtenAt":"2026-03-01T13:00:00+01:00"}`,
		`{"journal":"j","region":"a","epoch":4,"sequence":10}`, `{"journal":"j","region":"a","epoch":-1,"sequence":-9223372036854775808}`,
		`{"journal":"k","region":"a","epoch":3,"sequence":10}`, `{"journal":"j","region":"b"}`,
	} {
		f.Add(data, int64(3), int64(9), int64(1_772_366_400_000_000))
		f.Add(data, int64(0), int64(0), int64(0))
	}
	f.Fuzz(func(t *testing.T, data string, epoch, sequence, writtenAt int64) {
		s := newServer()
		if data != "" {
			s.Put(bucket, mark.Key, []byte(data))
		}
		j := &marksInMemory{}
		if writtenAt > 0 && time.UnixMicro(writtenAt).Year() < 9000 {
			j.recorded = journal.Mark{Epoch: min(epoch, ourEpoch), Sequence: min(sequence, ourSequence), ETag: "e", WrittenAt: time.UnixMicro(writtenAt).UTC()}
		}
		before := j.recorded
		r, err := region.New(t.Context(), region.Config{
			Name: "a", Endpoint: "http://127.0.0.1", Bucket: bucket, AccessKey: "key", SecretKey: "secret", Transport: inProcess{s},
		})
		if err != nil {
			t.Fatal(err)
		}
		k, err := mark.New(mark.Config{
			Bucket: bucket, Regions: []*region.Region{r}, Journal: j, Changed: func([]string) {}, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		content, err := mark.Read(t.Context(), r)
		if err != nil {
			t.Fatalf("read %q: %v", data, err)
		}
		if content != nil && (!json.Valid([]byte(data)) || content.Journal == "") {
			t.Errorf("%q passes for a mark: %+v", data, content)
		}
		checked := k.Check(t.Context(), "a")
		if errors.Is(checked, mark.ErrForeign) || errors.Is(checked, mark.ErrNewer) {
			if content == nil || content.Journal == ourJournal && content.Region == "a" && content.Epoch <= ourEpoch && content.Sequence <= ourSequence {
				t.Errorf("%q is refused: %v", data, checked)
			}
			written := k.Write(t.Context(), "a")
			o, _ := s.Object(bucket, mark.Key)
			if !errors.Is(written, mark.ErrForeign) && !errors.Is(written, mark.ErrNewer) || !bytes.Equal(o.Data, []byte(data)) || j.regressed != nil || j.recorded != before {
				t.Errorf("%q is refused (%v), and yet is now %q (%v)", data, checked, o.Data, written)
			}
			return
		}
		if checked != nil {
			t.Fatalf("%q: got %v", data, checked)
		}
		isOlder := content == nil || content.Epoch < before.Epoch || content.Epoch == before.Epoch &&
			(content.Sequence < before.Sequence || content.Sequence == before.Sequence && content.WrittenAt.Before(before.WrittenAt))
		if isRegressed := j.regressed != nil; isRegressed != (isOlder && !before.WrittenAt.IsZero()) {
			t.Errorf("%q after %+v is regressed: %v", data, before, isRegressed)
		}
		if err := k.Write(t.Context(), "a"); err != nil {
			t.Fatalf("a region with %q cannot be marked any more: %v", data, err)
		}
		checkMarked(t, r, j, before, content)
	})
}

func checkMarked(t *testing.T, r *region.Region, j *marksInMemory, before journal.Mark, older *mark.Content) {
	t.Helper()
	c, err := mark.Read(t.Context(), r)
	if err != nil || c == nil || c.Journal != ourJournal || c.Region != "a" || c.Epoch != ourEpoch || c.Sequence != ourSequence {
		t.Fatalf("marked anew: got %+v, %v", c, err)
	}
	if !c.WrittenAt.Equal(j.recorded.WrittenAt) || j.recorded.ETag == "" || strings.Contains(j.recorded.ETag, `"`) {
		t.Errorf("the mark is %+v, and recorded as %+v", c, j.recorded)
	}
	// A regressed region's mark counts from there on; any other's comes after the one before.
	if j.regressed == nil && (!c.WrittenAt.After(before.WrittenAt) || older != nil && !c.WrittenAt.After(older.WrittenAt)) {
		t.Errorf("the mark is of %v, which is not after %v and %+v", c.WrittenAt, before.WrittenAt, older)
	}
}
