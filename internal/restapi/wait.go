package restapi

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/s3op"
)

const (
	waitHeader        = "X-Tandem-Wait"
	waitTimeoutHeader = "X-Tandem-Wait-Timeout"
	regionsHeader     = "X-Tandem-Regions"

	defaultWait = 30 * time.Second
	maxWait     = time.Hour
)

// waitOf reads which regions are to have a write before it is answered; nil where none is to be waited for.
func waitOf(b Bucket, h http.Header) (*gateway.Wait, error) {
	text, timeout := h.Get(waitHeader), h.Get(waitTimeoutHeader)
	if text == "" && timeout == "" {
		return nil, nil
	}
	names := b.Gateway.Regions()
	form := fmt.Sprintf("allowed: all, a number of regions from 1 to %d, or names of regions (%s) with commas between them", len(names), strings.Join(names, ", "))
	w := &gateway.Wait{Timeout: defaultWait}
	number, notNumber := strconv.Atoi(text)
	switch {
	case len(h.Values(waitHeader)) > 1:
		return nil, s3op.NewError(s3op.Invalid, "InvalidArgument", waitHeader+" is there more than once; "+form)
	case text == "all":
		w.Regions = names
	case notNumber == nil && (number < 1 || number > len(names)), text == "":
		return nil, s3op.NewError(s3op.Invalid, "InvalidArgument", fmt.Sprintf("%s is %q; %s", waitHeader, text, form))
	case notNumber == nil:
		w.Count = number
	default:
		for name := range strings.SplitSeq(text, ",") {
			if name = strings.TrimSpace(name); !slices.Contains(names, name) {
				return nil, s3op.NewError(s3op.Invalid, "InvalidArgument", fmt.Sprintf("%s is %q, and there is no region %q; %s", waitHeader, text, name, form))
			}
			w.Regions = append(w.Regions, name)
		}
	}
	if timeout == "" {
		return w, nil
	}
	var err error
	if w.Timeout, err = time.ParseDuration(timeout); err != nil {
		var seconds float64
		if seconds, err = strconv.ParseFloat(timeout, 64); err == nil && seconds <= maxWait.Seconds() {
			w.Timeout = time.Duration(seconds * float64(time.Second))
		}
	}
	if err != nil || w.Timeout < time.Millisecond || w.Timeout > maxWait {
		return nil, s3op.NewError(s3op.Invalid, "InvalidArgument",
			fmt.Sprintf("%s is %q; allowed: 1ms to %v, written like 500ms, 30s or 2m (a plain number is seconds)", waitTimeoutHeader, timeout, maxWait))
	}
	return w, nil
}

// await waits for the regions, and reports whether they have the write; true where none is to be waited for.
func await(w http.ResponseWriter, r *http.Request, b Bucket, result *gateway.Result, wait *gateway.Wait) bool {
	if wait == nil {
		return true
	}
	met := b.Gateway.Await(r.Context(), result, *wait)
	w.Header().Set(regionsHeader, strings.Join(result.Regions(), ", "))
	return met
}
