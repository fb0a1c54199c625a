package sim

import (
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/gnew/tandem/internal/region/regiontest"
)

// stalled is how long a download may rest in its body before it is cut: short of what it is given up after.
const stalled = 20 * time.Second

// draw chooses a fault for a request.
func (s *site) draw(r *rand.Rand, q regiontest.Request, isWrite bool, latency time.Duration) (string, regiontest.Fault) {
	switch n := r.IntN(14); {
	case n == 0:
		return requestRefused, regiontest.Fault{CutBefore: true, Early: true}
	case n == 1:
		return internalError, regiontest.Fault{Code: "InternalError"}
	case n == 2:
		return slowDown, regiontest.Fault{Code: "SlowDown"}
	case n == 3:
		return slow, regiontest.Fault{Hang: after(latency * time.Duration(20+r.IntN(100)))}
	case n == 4:
		return hung, regiontest.Fault{Hang: after(time.Hour)}
	case n == 5 && (q.Operation == "PutObject" || q.Operation == "UploadPart" || q.Operation == "GetObject"):
		f := regiontest.Fault{CutBodyAfter: 1 + r.Int64N(64)}
		if q.Operation == "GetObject" && r.IntN(2) == 0 {
			f.CutBodyWhen = after(time.Duration(r.Int64N(int64(stalled))))
		}
		return cutInBody, f
	case n == 6 && q.Operation == "CompleteMultipartUpload":
		return errorInside200, regiontest.Fault{Status: http.StatusOK, Code: "InternalError", Apply: r.IntN(2) == 0}
	case n <= 7 && isWrite:
		return replyLost, regiontest.Fault{CutBefore: true, Apply: true}
	case n == 8 && isWrite:
		return appliedWith500, regiontest.Fault{Code: "InternalError", Apply: true}
	case n == 9 && isWrite:
		return appliedTwice, regiontest.Fault{Twice: true}
	case n <= 12 && isWrite:
		return appliedLate, s.late(r, q)
	}
	return "", regiontest.Fault{}
}

// late is an operation that lands some time within the doubt window, whatever else has happened by
// then.
func (s *site) late(r *rand.Rand, q regiontest.Request) regiontest.Fault {
	delay := pick(r, time.Second, 10*time.Second, doubtWindow-time.Second)
	delay = time.Duration(r.Int64N(int64(delay)))
	land := make(chan struct{})
	began, epoch := s.w.model.now(), s.w.epoch.Load()
	time.AfterFunc(delay, func() {
		if last := s.w.model.last(q.Key); last != nil && last.began > began {
			s.w.count(latePastWrite)
		}
		if s.w.epoch.Load() > epoch {
			s.w.count(latePastPromotion)
		}
		s.w.note("%s: %s %s #%d lands, %v late", s.name, q.Operation, q.Key, q.Attempt, delay)
		close(land)
	})
	return regiontest.Fault{ApplyLater: land}
}
