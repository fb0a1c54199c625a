package gateway

import (
	"context"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/route"
)

// Unknown is the freshness of what the index cannot put right.
const Unknown = route.Unknown

// The fronts know the journal's rows by these names, and no more of it.
type (
	// State is the present epoch and its active.
	State = journal.State
	// KeyStatus is what the index knows of a key.
	KeyStatus = journal.Object
)

// Status is what the index knows of a key, with a copy for each region in the
// configured order. A key that it does not know is s3op.NotFound.
func (g *Gateway) Status(ctx context.Context, key string) (*KeyStatus, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	o, err := g.lookup(ctx, key)
	if err != nil {
		return nil, err
	}
	if o == nil {
		return nil, noSuchKey()
	}
	names := g.view.Load().names
	copies := make([]journal.Copy, len(names))
	for i, name := range names {
		copies[i] = o.Copy(name)
	}
	o.Copies = copies
	return o, nil
}

// ReplicationStatus is S3's word for how far a key's acknowledged version, which name was asked for, has been copied: REPLICA where name is
// not the active, FAILED where a region can never hold it, PENDING while one lacks it, else COMPLETED; "" where the index cannot say.
// Source: Amazon S3 User Guide, "Getting replication status information".
func (g *Gateway) ReplicationStatus(ctx context.Context, key, name string) string {
	v := g.view.Load()
	if name != v.Active {
		return "REPLICA"
	}
	o, err := g.lookup(ctx, key)
	if err != nil || o == nil || o.Deleted || len(v.names) < 2 {
		return ""
	}
	status := "COMPLETED"
	for _, region := range v.names {
		switch o.Copy(region).State {
		case journal.Current:
		case journal.Unreplicable:
			return "FAILED"
		default:
			status = "PENDING"
		}
	}
	return status
}

// RegionStatus is what /admin/state says of a region.
type RegionStatus struct {
	Name     string
	Endpoint string
	Bucket   string
	IsActive bool
	Compared bool
	// Regressed: it came back older than it was, and is being verified.
	Regressed bool
	Lag       journal.Lag
	OpenURLs  journal.OpenURLs
}

// SignedURL is a presigned PUT that may yet bring something.
type SignedURL = journal.SignedURL

// SignedURLs lists, in the order of their ids, up to limit of them with after < ID.
func (g *Gateway) SignedURLs(ctx context.Context, after int64, limit int) ([]SignedURL, error) {
	return g.Journal.SignedURLs(ctx, g.Bucket, after, limit)
}

// RegionStatuses are in the configured order.
func (g *Gateway) RegionStatuses(ctx context.Context) ([]RegionStatus, error) {
	v := g.view.Load()
	open, err := g.Journal.OpenURLs(ctx, g.Bucket)
	if err != nil {
		return nil, err
	}
	statuses := make([]RegionStatus, len(v.names))
	for i, name := range v.names {
		lag, err := g.Journal.Lag(ctx, g.Bucket, name)
		if err != nil {
			return nil, err
		}
		r := g.regions[name]
		statuses[i] = RegionStatus{
			Name: name, Endpoint: r.Endpoint(), Bucket: r.Bucket(), IsActive: name == v.Active, Compared: v.compared[name],
			Regressed: v.regressed[name], Lag: lag, OpenURLs: open[name],
		}
	}
	return statuses, nil
}
