package doctor

// Status is how a check ended.
type Status string

const (
	// OK: it is as Tandem wants it.
	OK Status = "ok"
	// Warning: Tandem works, with a limit that the advice names.
	Warning Status = "warning"
	// Failed: Tandem does not work with this, or not safely.
	Failed Status = "failed"
	// NotSupported: the region cannot do it, and says so.
	NotSupported Status = "not supported"
	// Skipped: it could not be checked; Found says why.
	Skipped Status = "skipped"
)

// Finding is what one check found.
type Finding struct {
	// Check is the check's name, the same in every version.
	Check  string `json:"check"`
	Status Status `json:"status"`
	// Found is what was seen, in one line.
	Found string `json:"found"`
	// Advice is what Tandem does instead, or what to do; "" where nothing is to be said.
	Advice string `json:"advice"`
}

// CallTimes are how long the answered calls of one kind took until the answer began.
type CallTimes struct {
	Operation string  `json:"operation"`
	Count     int     `json:"count"`
	Min       float64 `json:"minSeconds"`
	Median    float64 `json:"medianSeconds"`
}

// RegionReport is what was found of one region, and of one bucket there.
type RegionReport struct {
	Name     string `json:"name"`
	Endpoint string `json:"endpoint"`
	Bucket   string `json:"bucket"`
	// ClientBucket is what clients call the bucket; "" where there is one only.
	ClientBucket string      `json:"clientBucket,omitempty"`
	Embedded     bool        `json:"embedded"`
	Note         string      `json:"note"`
	Status       Status      `json:"status"`
	Findings     []Finding   `json:"findings"`
	Calls        []CallTimes `json:"calls"`
}

// Title names what the report is of: the region, and its bucket where there are several.
func (r RegionReport) Title() string {
	if r.ClientBucket == "" {
		return r.Name
	}
	return r.Name + " (" + r.ClientBucket + ")"
}

// Report is what was found of all.
type Report struct {
	// Status is the worst of all: OK, Warning or Failed. What is not supported or was skipped is a Warning.
	Status Status `json:"status"`
	// Interrupted: the examination was ended before it was done.
	Interrupted bool           `json:"interrupted"`
	Counts      map[Status]int `json:"counts"`
	// Regions has an entry for each bucket of each region.
	Regions []RegionReport `json:"regions"`
	// Across is what was found by comparing the regions, and the buckets.
	Across []Finding `json:"across"`
}

func newReport(sessions []*session, across []Finding, interrupted bool) Report {
	r := Report{Interrupted: interrupted, Across: append([]Finding{}, across...), Status: worst(across)}
	r.Counts = map[Status]int{OK: 0, Warning: 0, Failed: 0, NotSupported: 0, Skipped: 0}
	for _, f := range across {
		r.Counts[f.Status]++
	}
	for _, s := range sessions {
		s.report.Calls = s.wire.times()
		s.report.Status = worst(s.report.Findings)
		if s.report.Status == Failed || r.Status == OK {
			r.Status = s.report.Status
		}
		for _, f := range s.report.Findings {
			r.Counts[f.Status]++
		}
		r.Regions = append(r.Regions, s.report)
	}
	return r
}

func worst(findings []Finding) Status {
	status := OK
	for _, f := range findings {
		switch f.Status {
		case Failed:
			return Failed
		case OK:
		default:
			status = Warning
		}
	}
	return status
}
