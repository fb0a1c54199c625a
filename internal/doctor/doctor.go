// Package doctor examines regions before real buckets go behind a gateway: what each region's S3 can and
// cannot do, and what the gateway does instead. It asks through the gateway's own client, so what it
// finds is what the gateway will find; where the gateway learns by trying (region.ProbeConditions), both try the same.
//
// Whatever it writes is below .tandem/doctor/ and a random name, where no client and no other part of a
// gateway looks, and is removed when the examination ends, however it ends. So it may run beside a
// gateway, and beside another doctor.
package doctor

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/s3op"
)

// Prefix is where everything that a doctor writes is, in each region's bucket.
const Prefix = s3op.ReservedPrefix + "doctor/"

// Target is a region to examine, with one bucket of it: a region with several is as many targets.
type Target struct {
	// Bucket is what clients call the bucket, for the report. Targets of one name hold copies of each
	// other. Default: there is one bucket only.
	Bucket string
	// Region describes the region, and has the name of the bucket there. Its Timeout is the doctor's, its Transport the default where it has none. Required.
	Region region.Config
	// Embedded: the region is a folder that the gateway serves itself.
	Embedded bool
	// Note says how the region is reached, where that is not plain. Default: nothing.
	Note string
	// Unavailable says why the region cannot be asked at all. Default: it can.
	Unavailable error
}

// Config is what a Doctor examines, and how.
type Config struct {
	// Targets in the order in which they are reported. Required.
	Targets []Target
	// Timeout is how long a region may make no progress on a request. Default 10 s.
	Timeout time.Duration
	// Progress is told what is examined next, a region or a bucket of one; it must not block. Default: nobody.
	Progress func(what, check string)
}

// Doctor examines regions once.
type Doctor struct {
	cfg Config
	// id names the canaries of this examination in all regions.
	id string
	// buckets are what clients call those of the targets, each once, in their order.
	buckets []string
}

// New checks the configuration and asks nobody.
func New(cfg Config) (*Doctor, error) {
	if len(cfg.Targets) == 0 {
		return nil, errors.New("doctor: Targets are required")
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	if cfg.Progress == nil {
		cfg.Progress = func(string, string) {}
	}
	d := &Doctor{cfg: cfg, id: rand.Text()}
	for _, t := range cfg.Targets {
		if !slices.Contains(d.buckets, t.Bucket) {
			d.buckets = append(d.buckets, t.Bucket)
		}
	}
	return d, nil
}

// Run examines each target in turn, then compares them, and removes what it wrote. Where ctx ends
// first, what was found so far is reported, and what was written is removed all the same. Nothing that a
// region does makes it fail: that is in the report.
func (d *Doctor) Run(ctx context.Context) Report {
	var sessions []*session
	for _, t := range d.cfg.Targets {
		s := d.newSession(ctx, t)
		sessions = append(sessions, s)
		s.examine(ctx)
	}
	across := d.across(ctx, sessions)
	for _, s := range sessions {
		s.cleanUp(ctx)
		s.close()
	}
	return newReport(sessions, across, ctx.Err() != nil)
}
