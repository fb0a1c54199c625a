package stats

import (
	"context"
	"time"
)

const (
	// rowsAge is how old a count of the rows may be; with many rows it may be older, so that counting takes no more
	// than a part of the time: one in rowsShare.
	rowsAge   = 5 * time.Second
	rowsShare = 10
	// rowsTimeout bounds a count.
	rowsTimeout = 10 * time.Second
)

// rows keeps what is costly to count. One caller counts at a time, the others wait for it.
type rows struct {
	count func(context.Context) (Rows, error)
	// lock has a place for whoever holds it, so that who waits for it may leave. It guards the rest.
	lock  chan struct{}
	known Rows
	err   error
	at    time.Time
	until time.Time
}

func (r *rows) get(ctx context.Context) (Rows, time.Time, error) {
	select {
	case r.lock <- struct{}{}:
		defer func() { <-r.lock }()
	case <-ctx.Done():
		return Rows{}, time.Time{}, ctx.Err()
	}
	began := time.Now()
	if began.Before(r.until) {
		return r.known, r.at, r.err
	}
	counting, cancel := context.WithTimeout(ctx, rowsTimeout)
	defer cancel()
	known, err := r.count(counting)
	if err != nil && ctx.Err() != nil {
		return Rows{}, time.Time{}, err // the caller left: the next counts again
	}
	r.known, r.err, r.at = known, err, time.Now()
	r.until = r.at.Add(max(rowsAge, rowsShare*r.at.Sub(began)))
	return r.known, r.at, r.err
}
