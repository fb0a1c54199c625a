package sim

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	judged   = "promise 3: a condition is judged by what was acknowledged"
	refusals = "a region that refuses is not down"

	pausedBeforeSettle = "paused between a settler's look and its verdict"
)

// checkCondition: a conditional write that was acknowledged has shown what the key was, as a read
// would have.
func (c *client) checkCondition(key string, conditions http.Header, began int64, a answer) {
	if a.err != nil || a.status != http.StatusCreated || len(conditions) == 0 {
		return
	}
	c.checkRead(judged, key, strings.Trim(conditions.Get("If-Match"), `"`), began, c.w.model.now())
}

// refusing keeps a region refusing for a while. Once it has refused a probe, nothing of it makes it
// down. (Whether it is on the network at all is seen by its refusing anything.)
func (o *operator) refusing(s *site, d time.Duration) {
	const first = healthInterval + time.Second
	time.Sleep(min(d, first))
	if d <= first {
		return
	}
	before, told := o.health(s), o.refused()
	time.Sleep(d - first)
	if slices.Contains([]string{"", "unknown", "down"}, before) || told == 0 || o.refused() == told {
		return
	}
	o.w.count(refusals)
	if o.health(s) == "down" {
		o.w.violated(refusals, "%s is down, although it answers and refuses", s.name)
	}
}

// refused is how often any region has refused so far; one does at a time.
func (o *operator) refused() int {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	return o.w.counts[forbidden] + o.w.counts[bucketLies]
}

// health is what the gateway says of a region, "" where it does not.
func (o *operator) health(s *site) string {
	var state gatewayState
	if o.w.get("/admin/state", &state) != nil {
		return ""
	}
	for _, r := range state.Regions {
		if r.Name == s.name {
			return r.Health
		}
	}
	return ""
}
