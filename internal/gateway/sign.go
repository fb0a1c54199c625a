package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/mutant"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/s3op"
)

// SignInput is a wish for a presigned URL.
type SignInput struct {
	Key string
	// Method is GET or PUT.
	Method string
	// Region is where the URL leads; "" is the active.
	Region string
	// ContentType of a PUT, which then has to be sent with it; "" leaves it to the client.
	ContentType string
	// Expires is from one second to region.MaxPresign; 0 is Config.PresignExpires.
	Expires time.Duration
	// Actor asks.
	Actor string
}

// Signed is a presigned URL.
type Signed struct {
	region.Presigned
	Region string
	// Notes say what the URL bypasses.
	Notes []string
}

// Sign makes a presigned URL. One for a PUT is tracked before it is given out, from then on until it has expired
// and the grace is over, however often it is used: each object that shows up is indexed and replicated, or,
// where the key was changed elsewhere meanwhile, kept as the loser of a conflict. An error is an *s3op.Error.
func (g *Gateway) Sign(ctx context.Context, in SignInput) (*Signed, error) {
	if err := checkKey(in.Key); err != nil {
		return nil, err
	}
	v := g.view.Load()
	if in.Region == "" {
		in.Region = v.Active
	}
	r := g.regions[in.Region]
	if r == nil || !slices.Contains(v.names, in.Region) {
		return nil, s3op.NewError(s3op.Invalid, "InvalidArgument", fmt.Sprintf("there is no region %q; the regions are %s", in.Region, strings.Join(v.names, ", ")))
	}
	if in.Expires == 0 {
		in.Expires = g.PresignExpires
	}
	if in.Expires < time.Second || in.Expires > region.MaxPresign {
		return nil, s3op.NewError(s3op.Invalid, "InvalidArgument", fmt.Sprintf("a presigned URL is good for 1 to %d seconds", region.MaxPresign/time.Second))
	}
	header := make(http.Header)
	if in.ContentType != "" {
		header.Set("Content-Type", in.ContentType)
	}
	signed, err := r.Presign(ctx, in.Method, in.Key, header, in.Expires)
	if err != nil {
		return nil, region.ToClient(err)
	}
	u := journal.SignedURL{
		Bucket: g.Bucket, Key: in.Key, Region: in.Region, Operation: journal.Get, Epoch: v.Epoch, SignedAt: time.Now(),
		ExpiresAt: signed.ExpiresAt, OpenUntil: signed.ExpiresAt.Add(g.PresignGrace), Actor: in.Actor,
	}
	notes := []string{"It goes to the region past the gateway: it shows what the region " + in.Region + " holds, be it the acknowledged version or not."}
	if in.Method == http.MethodPut {
		u.Operation = journal.PresignedPut
		if mutant.On(mutant.GraceForgotten) {
			u.OpenUntil = u.ExpiresAt
		}
		if err := g.admitUpload(ctx, v, r); err != nil {
			return nil, err
		}
		notes = notesOnPut(in.Region, v.Active, u.OpenUntil)
	}
	if err := g.record(ctx, v, u); err != nil {
		return nil, err
	}
	return &Signed{Presigned: signed, Region: in.Region, Notes: notes}, nil
}

// admitUpload says why no PUT into the region may be signed now.
func (g *Gateway) admitUpload(ctx context.Context, v *view, r *region.Region) error {
	if err := g.AdmitWrite(); err != nil {
		return err
	}
	if err := r.Admit(); err != nil {
		return unavailable(r.Name(), "it is down, so nothing can be uploaded there", err)
	}
	if v.regressed[r.Name()] {
		return unavailable(r.Name(), "it came back older than it was and is being verified, so what an upload brings there could not be told from that; no URL was signed", nil)
	}
	if r.Name() == v.Active {
		return nil
	}
	if !v.compared[r.Name()] {
		return s3op.NewError(s3op.Conflict, "NotCompared", "the bucket of region "+r.Name()+
			" was never compared, so what an upload brings there could not be told from what it held before; sign for the active region "+v.Active)
	}
	// (A copy is under way to the region; an upload lands there; the copy would take it away unseen.)
	conditions, err := r.Conditions(ctx)
	if err != nil {
		return region.ToClient(err)
	}
	if !conditions.Put || !conditions.Delete {
		return s3op.NewError(s3op.Conflict, "NotSupported", "region "+r.Name()+
			" does not honour conditional writes and deletes, so a copy could take away unseen what is uploaded there; sign for the active region "+v.Active)
	}
	return nil
}

func notesOnPut(name, active string, until time.Time) []string {
	watched := "It goes to the region past the gateway. The key is read again there until " + until.UTC().Format(time.RFC3339) +
		", and every object that shows up is indexed and replicated; until it is, reads may show the one before"
	if name != active {
		return []string{
			watched + ".",
			"Region " + name + " is not the active: what is uploaded there counts only where the key was not changed since now; else it is kept as the loser of a conflict.",
		}
	}
	return []string{
		watched + ", and say that its freshness is unknown.",
		"Until then conditional writes of the key are refused, and a promotion lists the URL as in doubt.",
	}
}

// record puts the URL on the record. From before it can be used its key is read with the index.
func (g *Gateway) record(ctx context.Context, v *view, u journal.SignedURL) error {
	isInActive := u.Operation == journal.PresignedPut && u.Region == v.Active
	mark, wasDirty := uint64(0), true
	if isInActive {
		mark, wasDirty = v.dirty.mark(u.Key)
	}
	_, err := g.Journal.Sign(ctx, u)
	if err != nil {
		if !wasDirty && !errors.Is(err, journal.ErrUnknown) {
			v.dirty.clear(u.Key, mark)
		}
		return notSigned(u, err)
	}
	if isInActive {
		v.dirty.mark(u.Key) // again: a reader may have found the key clean before that was recorded
	}
	if u.Operation == journal.PresignedPut {
		g.Signed()
	}
	return nil
}

func notSigned(u journal.SignedURL, err error) error {
	switch {
	case errors.Is(err, journal.ErrLoser):
		return unavailable(u.Region, "it holds an older write of this key that is to be kept as a conflict first; no URL was signed", err)
	case errors.Is(err, journal.ErrUnsettled):
		return unavailable(u.Region, "an earlier write of this key has no answer there, so an upload could not be told from it; no URL was signed", err)
	case errors.Is(err, journal.ErrRepairing):
		return unavailable(u.Region, "an older object of this key is being removed or replaced there; no URL was signed", err)
	}
	return s3op.WrapError(s3op.Unavailable, "ServiceUnavailable", "the URL could not be recorded, so none is given out; try again", err)
}
