package restapi

import (
	"net/http"
	"time"

	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/s3op"
)

type replicationBody struct {
	Key         string     `json:"key"`
	Version     string     `json:"version"`
	Deleted     bool       `json:"deleted"`
	Settled     bool       `json:"settled"`
	ETag        string     `json:"etag"`
	Size        int64      `json:"size"`
	ContentType string     `json:"contentType"`
	LastRegion  string     `json:"lastRegion"`
	CreatedAt   string     `json:"createdAt"`
	UpdatedAt   string     `json:"updatedAt"`
	Regions     []copyBody `json:"regions"`
}

type copyBody struct {
	Region    string  `json:"region"`
	State     string  `json:"state"`
	Version   string  `json:"version"`
	ETag      string  `json:"etag"`
	Attempts  int     `json:"attempts"`
	LastError *string `json:"lastError"`
	NextTry   *string `json:"nextTry"`
}

func (a *API) getReplication(w http.ResponseWriter, r *http.Request, key string) error {
	o, err := a.Gateway.Status(r.Context(), key)
	if err != nil {
		return err
	}
	body := replicationBody{
		Key: key, Version: o.Version.String(), Deleted: o.Deleted, Settled: !o.Contested(), ETag: o.ETag, Size: o.Size,
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

type stateBody struct {
	Active   string       `json:"active"`
	Replica  *string      `json:"replica"`
	Replicas []string     `json:"replicas"`
	Epoch    int64        `json:"epoch"`
	Mode     string       `json:"mode"`
	Regions  []regionBody `json:"regions"`
}

type regionBody struct {
	Name     string      `json:"name"`
	Role     string      `json:"role"`
	Endpoint string      `json:"endpoint"`
	Bucket   string      `json:"bucket"`
	Compared bool        `json:"compared"`
	Pending  pendingBody `json:"pending"`
	// LagSeconds is null where the bucket was never compared: nobody knows.
	LagSeconds *float64 `json:"lagSeconds"`
}

type pendingBody struct {
	Keys         int64 `json:"keys"`
	Bytes        int64 `json:"bytes"`
	Failing      int64 `json:"failing"`
	Unreplicable int64 `json:"unreplicable"`
}

func (a *API) getState(w http.ResponseWriter, r *http.Request) error {
	statuses, err := a.Gateway.RegionStatuses(r.Context())
	if err != nil {
		return s3op.WrapError(s3op.Unavailable, "ServiceUnavailable", "the index cannot be read; try again", err)
	}
	state := a.Gateway.State()
	body := stateBody{Active: state.Active, Replicas: []string{}, Epoch: state.Epoch, Mode: a.FailoverMode}
	for _, s := range statuses {
		if !s.IsActive {
			body.Replicas = append(body.Replicas, s.Name)
		}
		body.Regions = append(body.Regions, describeRegion(s))
	}
	if len(body.Replicas) > 0 {
		body.Replica = &body.Replicas[0]
	}
	writeJSON(w, "application/json", http.StatusOK, body)
	return nil
}

func describeRegion(s gateway.RegionStatus) regionBody {
	body := regionBody{
		Name: s.Name, Role: "replica", Endpoint: s.Endpoint, Bucket: s.Bucket, Compared: s.Compared,
		Pending: pendingBody{s.Lag.Keys, s.Lag.Bytes, s.Lag.Failing, s.Lag.Unreplicable},
	}
	if s.IsActive {
		body.Role = "active"
	}
	if s.Compared {
		lag := 0.0
		if !s.Lag.OldestPending.IsZero() {
			lag = time.Since(s.Lag.OldestPending).Seconds()
		}
		body.LagSeconds = &lag
	}
	return body
}

type healthBody struct {
	Status  string            `json:"status"`
	Active  string            `json:"active"`
	Regions map[string]string `json:"regions"`
}

// getHealth asks every region. It is open, so it says no more than up or down.
func (a *API) getHealth(w http.ResponseWriter, r *http.Request) error {
	body := healthBody{Status: "ok", Active: a.Gateway.State().Active, Regions: make(map[string]string)}
	up := 0
	for name, err := range a.Gateway.Probe(r.Context()) {
		body.Regions[name] = "up"
		if err != nil {
			body.Regions[name] = "down"
			body.Status = "degraded"
			continue
		}
		up++
	}
	status := http.StatusOK
	if up == 0 {
		body.Status, status = "down", http.StatusServiceUnavailable
	}
	writeJSON(w, "application/json", status, body)
	return nil
}

func (a *API) getLive(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, "application/json", http.StatusOK, map[string]string{"status": "ok"})
	return nil
}

func (a *API) getReady(w http.ResponseWriter, _ *http.Request) error {
	if err := a.Ready(); err != nil {
		return s3op.NewError(s3op.Unavailable, "NotReady", err.Error())
	}
	writeJSON(w, "application/json", http.StatusOK, map[string]string{"status": "ok"})
	return nil
}
