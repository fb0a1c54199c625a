package stats

import "slices"

// field is one number of a report, and the series that it is the sum of.
type field struct {
	metric string
	// region is the label's value, "" for a metric of the journal.
	region string
	has    func(label map[string]string) bool
	count  func(*Journal, *Region) *Count
}

func fields(regions []string) []field {
	all := func(map[string]string) bool { return true }
	is := func(name string, values ...string) func(map[string]string) bool {
		return func(label map[string]string) bool { return slices.Contains(values, label[name]) }
	}
	isNot := func(name string, value string) func(map[string]string) bool {
		return func(label map[string]string) bool { return label[name] != value }
	}
	both := func(a, b func(map[string]string) bool) func(map[string]string) bool {
		return func(label map[string]string) bool { return a(label) && b(label) }
	}
	noProbe := isNot("op", "HeadBucket")
	list := []field{
		{"tandem_journal_commits_total", "", all, func(j *Journal, _ *Region) *Count { return &j.Commits }},
		{"tandem_journal_changes_total", "", all, func(j *Journal, _ *Region) *Count { return &j.Changes }},
		{"tandem_journal_errors_total", "", all, func(j *Journal, _ *Region) *Count { return &j.FailedCommits }},
	}
	for _, name := range regions {
		list = append(list,
			field{"tandem_region_operations_total", name, is("op", "read"), func(_ *Journal, r *Region) *Count { return &r.Reads }},
			field{"tandem_region_operations_total", name, is("op", "write"), func(_ *Journal, r *Region) *Count { return &r.Writes }},
			field{"tandem_region_operations_total", name, is("op", "delete"), func(_ *Journal, r *Region) *Count { return &r.Deletes }},
			field{"tandem_region_operations_total", name, is("op", "list"), func(_ *Journal, r *Region) *Count { return &r.Listings }},
			field{"tandem_read_fallbacks_total", name, all, func(_ *Journal, r *Region) *Count { return &r.Fallbacks }},
			field{"tandem_copies_total", name, isNot("outcome", "failed"), func(_ *Journal, r *Region) *Count { return &r.Copies }},
			field{"tandem_copies_total", name, is("outcome", "failed"), func(_ *Journal, r *Region) *Count { return &r.FailedCopies }},
			field{"tandem_repairs_total", name, all, func(_ *Journal, r *Region) *Count { return &r.Repairs }},
			field{"tandem_region_requests_total", name, noProbe, func(_ *Journal, r *Region) *Count { return &r.Requests }},
			field{"tandem_region_requests_total", name, both(noProbe, is("code", "error", "5xx")), func(_ *Journal, r *Region) *Count { return &r.Errors }},
			field{"tandem_region_sent_bytes_total", name, all, func(_ *Journal, r *Region) *Count { return &r.SentBytes }},
			field{"tandem_region_received_bytes_total", name, all, func(_ *Journal, r *Region) *Count { return &r.ReceivedBytes }},
		)
	}
	return list
}
