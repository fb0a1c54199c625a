package restapi

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/health"
	"github.com/gnew/tandem/internal/s3op"
)

type replicationBody struct {
	Bucket      string     `json:"bucket"`
	Key         string     `json:"key"`
	Version     string     `json:"version" doc:"The acknowledged version: epoch and number of the write."`
	Deleted     bool       `json:"deleted" doc:"Whether that version is a delete."`
	Settled     bool       `json:"settled" doc:"Whether nothing is under way or in doubt that could still change the key."`
	ETag        string     `json:"etag"`
	Size        int64      `json:"size" doc:"In bytes."`
	ContentType string     `json:"contentType"`
	LastRegion  string     `json:"lastRegion" doc:"The region that took the write."`
	CreatedAt   string     `json:"createdAt" format:"date-time"`
	UpdatedAt   string     `json:"updatedAt" format:"date-time"`
	Regions     []copyBody `json:"regions" doc:"The copy in each region."`
}

type copyBody struct {
	Region    string  `json:"region"`
	State     string  `json:"state" enum:"current,pending,abandoned,unreplicable,missing,unknown"`
	Version   string  `json:"version" doc:"The version that the region is known to hold; empty where none is."`
	ETag      string  `json:"etag"`
	Attempts  int     `json:"attempts" doc:"How often the copy was tried."`
	LastError *string `json:"lastError" doc:"Why the last attempt failed; null where none did."`
	NextTry   *string `json:"nextTry" format:"date-time" doc:"When the next attempt is due; null where none is."`
}

func (a *API) getReplication(w http.ResponseWriter, r *http.Request, b Bucket, key string) error {
	o, err := b.Gateway.Status(r.Context(), key)
	if err != nil {
		return err
	}
	body := replicationBody{
		Bucket: b.Name, Key: key, Version: o.Version.String(), Deleted: o.Deleted, Settled: isSettled(o, b.Gateway.State().Active), ETag: o.ETag, Size: o.Size,
		ContentType: o.ContentType, LastRegion: o.LastRegion, CreatedAt: formatTime(o.CreatedAt), UpdatedAt: formatTime(o.UpdatedAt),
		Regions: []copyBody{},
	}
	for _, c := range o.Copies {
		one := copyBody{Region: c.Region, State: string(c.State), Version: c.Version.String(), ETag: c.ETag, Attempts: c.Attempts}
		if c.LastError != "" {
			one.LastError = &c.LastError
		}
		if !c.NextTry.IsZero() {
			one.NextTry = new(formatTime(c.NextTry))
		}
		body.Regions = append(body.Regions, one)
	}
	writeJSON(w, "application/json", http.StatusOK, body)
	return nil
}

func isSettled(o *gateway.KeyStatus, active string) bool {
	return !o.Contested(active) && !o.IsOpenToURLs(active)
}

type stateBody struct {
	Active     string          `json:"active" doc:"The region that takes writes."`
	Replica    *string         `json:"replica" doc:"The first replica; null where there is none."`
	Replicas   []string        `json:"replicas"`
	Epoch      int64           `json:"epoch" doc:"One more with each promotion."`
	Mode       string          `json:"mode" doc:"Who promotes: auto or manual."`
	BlockedBy  []objectionBody `json:"blockedBy" nullable:"true" doc:"What keeps a replica from being promoted although the active is down; null while nothing is to be promoted."`
	Regions    []regionBody    `json:"regions"`
	Checkpoint string          `json:"checkpoint" doc:"The newest signed head of the audit chain, a signed note; empty where there is none yet."`
}

type regionBody struct {
	Name          string             `json:"name"`
	Role          string             `json:"role" enum:"active,replica"`
	Endpoint      string             `json:"endpoint"`
	Bucket        string             `json:"bucket" doc:"What the first of its buckets is called there."`
	Health        string             `json:"health" doc:"What the probes found, in a word: up, down, unknown, or what is wrong."`
	Since         *string            `json:"healthSince" format:"date-time" doc:"Since when; null before the first probe."`
	Error         *string            `json:"lastError" doc:"What the last probe that failed met."`
	Compared      bool               `json:"compared" doc:"Whether each of its buckets was compared with the index, so that what it lacks is known."`
	Regressed     bool               `json:"regressed" doc:"Whether it came back older than it was in any of its buckets, and is being verified."`
	Pending       pendingBody        `json:"pending" doc:"The copies that it is to get, of all buckets."`
	NeverCompared *int64             `json:"neverCompared" doc:"How many keys of it the index does not know; null where it was compared, or while they are not counted in each bucket."`
	LagSeconds    *float64           `json:"lagSeconds" doc:"The age of the copy that has waited longest; null where one of its buckets was never compared, for then nobody knows."`
	OpenURLs      openURLsBody       `json:"openUrls" doc:"The presigned PUTs that may yet bring something."`
	Buckets       []regionBucketBody `json:"buckets" doc:"The same of each bucket that it has."`
}

type regionBucketBody struct {
	Name          string       `json:"name" doc:"The name that clients see."`
	Bucket        string       `json:"bucket" doc:"What it is called in the region."`
	Compared      bool         `json:"compared"`
	Regressed     bool         `json:"regressed"`
	Pending       pendingBody  `json:"pending"`
	LagSeconds    *float64     `json:"lagSeconds"`
	NeverCompared *int64       `json:"neverCompared"`
	OpenURLs      openURLsBody `json:"openUrls"`
}

type openURLsBody struct {
	Count int64   `json:"count"`
	Until *string `json:"until" format:"date-time" doc:"When the last of them is over; null where there is none."`
}

type pendingBody struct {
	Keys         int64 `json:"keys"`
	Bytes        int64 `json:"bytes"`
	Failing      int64 `json:"failing" doc:"Those whose last attempt failed."`
	Unreplicable int64 `json:"unreplicable" doc:"What the region cannot hold at all."`
}

func (a *API) getState(w http.ResponseWriter, r *http.Request) error {
	statuses, err := a.statuses(r.Context())
	if err != nil {
		return s3op.WrapError(s3op.Unavailable, "ServiceUnavailable", "the index cannot be read; try again", err)
	}
	state := a.first().Gateway.State()
	body := stateBody{
		Active: state.Active, Replicas: []string{}, Epoch: state.Epoch, Mode: a.FailoverMode, Regions: []regionBody{}, Checkpoint: a.Checkpoint(),
	}
	if blocked := a.Failover.Blocked(); len(blocked) > 0 {
		body.BlockedBy = describeObjections(blocked)
	}
	healths := make(map[string]health.Status)
	for _, h := range a.Health() {
		healths[h.Region] = h
	}
	for _, name := range a.Regions() {
		of := statuses[name]
		if len(of) == 0 {
			continue // it was removed since
		}
		region := a.describeRegion(of, healths[name])
		if name == state.Active {
			region.Role = "active"
		} else {
			body.Replicas = append(body.Replicas, name)
		}
		body.Regions = append(body.Regions, region)
	}
	if len(body.Replicas) > 0 {
		body.Replica = &body.Replicas[0]
	}
	writeJSON(w, "application/json", http.StatusOK, body)
	return nil
}

// bucketStatus is how a bucket is in one region.
type bucketStatus struct {
	name string
	gateway.RegionStatus
	// uncompared is how many keys of it the index does not know; nil where it was compared, or while they are not counted.
	uncompared *int64
}

// statuses are those of each region's buckets, by the region's name, in the order of the buckets.
func (a *API) statuses(ctx context.Context) (map[string][]bucketStatus, error) {
	of := make(map[string][]bucketStatus)
	for _, b := range a.Buckets {
		statuses, err := b.Gateway.RegionStatuses(ctx)
		if err != nil {
			return nil, err
		}
		for _, s := range statuses {
			one := bucketStatus{name: b.Name, RegionStatus: s}
			if keys, known := a.Uncompared(b.Name, s.Name); known && !s.Compared {
				one.uncompared = &keys
			}
			of[s.Name] = append(of[s.Name], one)
		}
	}
	return of, nil
}

// summed is how all of a region's buckets are together, with the names of the first.
func summed(all []bucketStatus) bucketStatus {
	sum := all[0]
	sum.uncompared = uncomparedIn(all)
	for _, s := range all[1:] {
		sum.Compared, sum.Regressed = sum.Compared && s.Compared, sum.Regressed || s.Regressed
		sum.Lag = sum.Lag.Plus(s.Lag)
		sum.OpenURLs.Count += s.OpenURLs.Count
		if s.OpenURLs.Until.After(sum.OpenURLs.Until) {
			sum.OpenURLs.Until = s.OpenURLs.Until
		}
	}
	return sum
}

// uncomparedIn adds up what the index does not know; nil where every bucket was compared, or one that was not is not counted.
func uncomparedIn(all []bucketStatus) (keys *int64) {
	for _, s := range all {
		switch {
		case s.Compared:
			continue
		case s.uncompared == nil:
			return nil
		case keys == nil:
			keys = new(int64)
		}
		*keys += *s.uncompared
	}
	return keys
}

func (s *bucketStatus) describe() regionBucketBody {
	body := regionBucketBody{
		Name: s.name, Bucket: s.Bucket, Compared: s.Compared, Regressed: s.Regressed,
		Pending:    pendingBody{s.Lag.Keys, s.Lag.Bytes, s.Lag.Failing, s.Lag.Unreplicable},
		LagSeconds: lagSeconds(s.Compared, s.Lag.OldestPending), NeverCompared: s.uncompared, OpenURLs: openURLsBody{Count: s.OpenURLs.Count},
	}
	if s.OpenURLs.Count > 0 {
		body.OpenURLs.Until = new(formatTime(s.OpenURLs.Until))
	}
	return body
}

// describeRegion tells of a replica that has these buckets.
func (a *API) describeRegion(of []bucketStatus, h health.Status) regionBody {
	all := summed(of)
	sum := all.describe()
	body := regionBody{
		Name: all.Name, Role: "replica", Endpoint: all.Endpoint, Bucket: sum.Bucket, Health: describeHealth(h), Compared: sum.Compared, Regressed: sum.Regressed,
		Pending: sum.Pending, NeverCompared: sum.NeverCompared, LagSeconds: sum.LagSeconds, OpenURLs: sum.OpenURLs, Buckets: []regionBucketBody{},
	}
	for _, s := range of {
		body.Buckets = append(body.Buckets, s.describe())
	}
	if !h.Since.IsZero() {
		body.Since = new(formatTime(h.Since))
	}
	if h.LastError != "" {
		body.Error = &h.LastError
	}
	return body
}

// lagSeconds is nil where the bucket was never compared.
func lagSeconds(compared bool, oldest time.Time) *float64 {
	if !compared {
		return nil
	}
	lag := 0.0
	if !oldest.IsZero() {
		lag = time.Since(oldest).Seconds()
	}
	return &lag
}

type healthBody struct {
	Status  string            `json:"status" enum:"ok,degraded,down"`
	Active  string            `json:"active"`
	Regions map[string]string `json:"regions" doc:"What the probes found of each region, in a word."`
}

type statusBody struct {
	Status string `json:"status" enum:"ok"`
}

// getHealth tells what the probes have found. It is open, so it says no more than a word of
// each region. It asks nobody, and so never waits.
func (a *API) getHealth(w http.ResponseWriter, r *http.Request) error {
	body := healthBody{Status: "ok", Active: a.first().Gateway.State().Active, Regions: make(map[string]string)}
	down := 0
	known := a.Regions()
	for _, h := range a.Health() {
		if !slices.Contains(known, h.Region) {
			continue // it was removed
		}
		body.Regions[h.Region] = describeHealth(h)
		if !h.Healthy() {
			body.Status = "degraded"
		}
		if h.State == health.Down {
			down++
		}
	}
	status := http.StatusOK
	if down == len(body.Regions) {
		body.Status, status = "down", http.StatusServiceUnavailable
	}
	writeJSON(w, "application/json", status, body)
	return nil
}

func (a *API) getLive(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, "application/json", http.StatusOK, statusBody{"ok"})
	return nil
}

func (a *API) getReady(w http.ResponseWriter, _ *http.Request) error {
	if err := a.Ready(); err != nil {
		return s3op.NewError(s3op.Unavailable, "NotReady", err.Error())
	}
	writeJSON(w, "application/json", http.StatusOK, statusBody{"ok"})
	return nil
}
