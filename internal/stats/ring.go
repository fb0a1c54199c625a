package stats

import "time"

// window is a stretch of time that ends now.
type window struct {
	length time.Duration
	// step is the time between two samples.
	step time.Duration
}

// windows are the last minute, hour and day.
var windows = []window{{time.Minute, interval}, {time.Hour, time.Minute}, {24 * time.Hour, 24 * time.Minute}}

// sample is what the counters were.
type sample struct {
	at     time.Time
	values []int64
}

// ring has the samples of a window, and one from before it.
type ring struct {
	window
	samples []sample
	// newest is the index of the sample that was taken last, length how many there are.
	newest, length int
	// due is when the next is taken.
	due time.Time
}

// newRing returns a ring that holds what the counters were when they began. All its memory is there from
// the start.
func newRing(w window, first sample) *ring {
	r := &ring{window: w, samples: make([]sample, int(w.length/w.step)+2), length: 1, due: first.at.Add(w.step)}
	for i := range r.samples {
		r.samples[i].values = make([]int64, len(first.values))
	}
	r.samples[0].at = first.at
	copy(r.samples[0].values, first.values)
	return r
}

// add takes a sample, where one is due.
func (r *ring) add(now time.Time, values []int64) {
	// A ticker is late now and then, and never early by as much as this.
	if now.Before(r.due.Add(-r.step / 10)) {
		return
	}
	if r.due = r.due.Add(r.step); !now.Before(r.due) {
		r.due = now.Add(r.step) // the process did not run for a while
	}
	r.newest = (r.newest + 1) % len(r.samples)
	r.length = min(r.length+1, len(r.samples))
	r.samples[r.newest].at = now
	copy(r.samples[r.newest].values, values)
}

// before returns the newest sample from before the window that ends now, or the oldest that there is.
func (r *ring) before(now time.Time) sample {
	for back := range r.length {
		s := r.samples[(r.newest-back+len(r.samples))%len(r.samples)]
		if now.Sub(s.at) >= r.window.length || back == r.length-1 {
			return s
		}
	}
	return sample{} // there is always one
}
