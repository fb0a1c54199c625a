package health

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gnew/tandem/internal/mutant"
	"github.com/gnew/tandem/internal/region"
)

// State is the verdict on a region.
type State string

const (
	// Unknown: no verdict yet.
	Unknown State = "unknown"
	// Up: the region serves, or did when it last answered with its bucket.
	Up State = "up"
	// Down: the region does not answer, or did not often enough since.
	Down State = "down"
)

// Status is what is known of a region.
type Status struct {
	Region string
	State  State
	// Problem is what the region's last answer shows to be wrong, "" where nothing is:
	// ProblemDenied, ProblemClock, ProblemBucket, or the status of another refusal.
	Problem string
	// LastError is the error of the last probe that did not succeed. It is "" once a
	// region that is up has answered with its bucket.
	LastError string
	// Since is when the State was reached.
	Since time.Time
	// LastProbe is when the last probe that counted was begun, zero where there was none.
	LastProbe time.Time
	// Failures and Successes are the probes in a row that failed or succeeded; at most
	// one of them is not 0.
	Failures, Successes int
}

// Healthy reports whether the region serves, and would let us.
func (s Status) Healthy() bool { return s.State == Up && s.Problem == "" }

// The Problems that have a name.
const (
	ProblemDenied = "denied"
	ProblemClock  = "clock skewed"
	ProblemBucket = "no such bucket"
	// ProblemUnverified: whether the region is older than it was is not known.
	ProblemUnverified = "unverified"
)

// The results of a probe, as the metrics name them.
const (
	resultOK      = "ok"
	resultFailed  = "failed"
	resultRefused = "refused"
)

// answer is what a probe got.
type answer struct {
	result  string
	problem string // where it was refused
	err     error
	at      time.Time
}

// judge says what the outcome of a probe means.
func judge(err error, at time.Time) answer {
	switch {
	case err == nil:
		return answer{result: resultOK, at: at}
	case region.IsDown(err), mutant.On(mutant.ForbiddenIsDown):
		return answer{result: resultFailed, err: err, at: at}
	}
	return answer{result: resultRefused, problem: problemOf(err, at), err: err, at: at}
}

func problemOf(err error, at time.Time) string {
	e, ok := errors.AsType[*region.Error](err)
	switch {
	case !ok || e.Status == 0:
		return "no usable answer"
	case e.Status == http.StatusForbidden && isSkewed(e, at):
		return ProblemClock
	case e.Status == http.StatusForbidden:
		return ProblemDenied
	case e.Status == http.StatusNotFound:
		return ProblemBucket
	}
	return fmt.Sprintf("status %d %s", e.Status, cmp.Or(e.Code, http.StatusText(e.Status)))
}

// maxSkew is a minute less than the quarter of an hour that S3 allows: the Date of an answer is in
// whole seconds, and has aged on its way.
const maxSkew = 14 * time.Minute

// isSkewed reports whether the region takes the time of our signatures for wrong. The answer
// to a HEAD has no body, hence no code: the two clocks are compared then.
func isSkewed(e *region.Error, at time.Time) bool {
	if e.Code != "" {
		return e.Code == "RequestTimeTooSkewed"
	}
	date, err := http.ParseTime(e.Header.Get("Date"))
	return err == nil && at.Sub(date).Abs() > maxSkew
}

// next is the status after one more probe.
func (m *Monitor) next(s Status, a answer) Status {
	state := s.State
	switch a.result {
	case resultOK:
		s.Failures, s.Successes, s.Problem = 0, s.Successes+1, ""
		if state == Unknown || s.Successes >= m.Recoveries {
			state = Up
		}
		if state == Up {
			s.LastError = ""
		}
	case resultFailed:
		s.Failures, s.Successes, s.LastError = s.Failures+1, 0, a.err.Error()
		if s.Failures >= m.Failures {
			state, s.Problem = Down, ""
		}
	case resultRefused:
		s.Failures, s.Successes, s.LastError = 0, 0, a.err.Error()
		s.Problem = a.problem
	}
	if state != s.State {
		s.State, s.Since = state, a.at.UTC()
	}
	return s
}
