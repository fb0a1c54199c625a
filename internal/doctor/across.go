package doctor

import (
	"context"

	"github.com/gnew/tandem/internal/region"
)

// across compares the targets that could be written to: those of one bucket with each other, and then
// each bucket with each other bucket.
func (d *Doctor) across(ctx context.Context, sessions []*session) []Finding {
	var findings []Finding
	for i, b := range sessions {
		for _, a := range sessions[:i] {
			if a.target.Bucket == b.target.Bucket && a.reached && b.reached && ctx.Err() == nil {
				d.cfg.Progress(a.report.Title()+" and "+b.report.Title(), "comparison")
				findings = append(findings, compare(ctx, a, b)...)
			}
		}
	}
	for i, b := range d.buckets {
		for _, a := range d.buckets[:i] {
			findings = append(findings, d.apart(ctx, of(sessions, a), of(sessions, b))...)
		}
	}
	return findings
}

// of are the sessions of a bucket that could be written to.
func of(sessions []*session, bucket string) (all []*session) {
	for _, s := range sessions {
		if s.target.Bucket == bucket && s.reached {
			all = append(all, s)
		}
	}
	return all
}

// apart looks whether two buckets share anything, anywhere. Its one finding is the first that is not OK.
func (d *Doctor) apart(ctx context.Context, as, bs []*session) []Finding {
	var last []Finding
	for _, a := range as {
		for _, b := range bs {
			if ctx.Err() != nil {
				return nil
			}
			d.cfg.Progress(a.report.Title()+" and "+b.report.Title(), "comparison")
			bounded, cancel := context.WithTimeout(ctx, checkFactor*d.cfg.Timeout)
			f := distinct(bounded, a, b, a.target.Bucket+" and "+b.target.Bucket)
			cancel()
			if last = []Finding{f}; f.Status != OK {
				return last
			}
		}
	}
	return last
}

func compare(ctx context.Context, a, b *session) []Finding {
	ctx, cancel := context.WithTimeout(ctx, checkFactor*a.cfg.Timeout)
	defer cancel()
	both := a.report.Title() + " and " + b.report.Title()
	findings := []Finding{distinct(ctx, a, b, both)}
	switch {
	case a.partsETag == "" || b.partsETag == "":
	case a.partsETag == b.partsETag:
		findings = append(findings, Finding{"same ETag", OK, both + " give the same parts the same ETag", ""})
	default:
		findings = append(findings, Finding{"same ETag", Warning, both + " give the same parts different ETags", "each copy of such an object is read back and compared byte by byte"})
	}
	return findings
}

// distinct looks in each region for what was written in the other.
func distinct(ctx context.Context, a, b *session, both string) Finding {
	const check = "separate buckets"
	for _, pair := range [][2]*session{{a, b}, {b, a}} {
		from, in := pair[0], pair[1]
		if _, err := from.put(ctx, "seen", from.report.Name, nil); err != nil {
			return Finding{check, Skipped, said(err), ""}
		}
		switch _, err := in.r.Head(ctx, from.key("seen"), nil); {
		case err == nil:
			advice := "give each region a bucket of its own, which the S3 does not replicate by itself: with one bucket a failover changes nothing, and every copy would be its own source"
			if from.target.Bucket != in.target.Bucket {
				advice = "give each bucket one of its own in each region, which the S3 does not replicate by itself: else each changes behind the other's back"
			}
			return Finding{check, Failed, "what is written in " + from.report.Title() + " is in " + in.report.Title(), advice}
		case !region.IsNotFound(err):
			return Finding{check, Skipped, said(err), ""}
		}
	}
	return Finding{check, OK, both + " are two", ""}
}
