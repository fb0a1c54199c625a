package doctor

import (
	"context"

	"github.com/gnew/tandem/internal/region"
)

// across compares the regions that could be written to.
func (d *Doctor) across(ctx context.Context, sessions []*session) []Finding {
	var findings []Finding
	for i, b := range sessions {
		for _, a := range sessions[:i] {
			if a.reached && b.reached && ctx.Err() == nil {
				d.cfg.Progress(a.report.Name+" and "+b.report.Name, "comparison")
				findings = append(findings, compare(ctx, a, b)...)
			}
		}
	}
	return findings
}

func compare(ctx context.Context, a, b *session) []Finding {
	ctx, cancel := context.WithTimeout(ctx, checkFactor*a.cfg.Timeout)
	defer cancel()
	both := a.report.Name + " and " + b.report.Name
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
			return Finding{check, Failed, "what is written in " + from.report.Name + " is in " + in.report.Name,
				"give each region a bucket of its own, which the S3 does not replicate by itself: with one bucket a failover changes nothing, and every copy would be its own source"}
		case !region.IsNotFound(err):
			return Finding{check, Skipped, said(err), ""}
		}
	}
	return Finding{check, OK, both + " are two", ""}
}
