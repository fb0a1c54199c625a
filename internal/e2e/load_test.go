package e2e_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/journal"
)

// record is one write as its client saw it.
type record struct {
	key string
	// body is nil for a delete.
	body []byte
	// acknowledged writes have a version; of the others nothing is known.
	acknowledged bool
	version      journal.Version
	status       int
	region       string
}

func (r record) etag() string {
	if r.body == nil {
		return ""
	}
	sum := md5.Sum(r.body)
	return hex.EncodeToString(sum[:])
}

func (r record) String() string {
	return fmt.Sprintf("%s (%d bytes, etag %q, acknowledged %t as %v by %s, status %d)", r.key, len(r.body), r.etag(), r.acknowledged, r.version, r.region, r.status)
}

// load is clients that write, each its own keys, and what they remember.
type load struct {
	g       *gateway
	clients int
	keys    int
	bytes   int
	// untouched keys are written in the first phase only.
	stop context.CancelFunc
	done chan struct{}

	mu      sync.Mutex
	records []record
	pause   func(key string) bool
}

// startLoad has clients write until end is called. Each has keys of its own, and writes one
// after the other, so that the order of a key's records is that of its writes.
func (g *gateway) startLoad(t *testing.T, clients, keys, bytes int) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{g: g, clients: clients, keys: keys, bytes: bytes, stop: cancel, done: make(chan struct{})}
	var group sync.WaitGroup
	for i := range clients {
		group.Go(func() { l.client(ctx, i) })
	}
	go func() {
		group.Wait()
		close(l.done)
	}()
	t.Cleanup(l.end)
	return l
}

func (l *load) end() {
	l.stop()
	<-l.done
}

// leaveAlone has the clients skip the keys for which skip is true from now on.
func (l *load) leaveAlone(skip func(key string) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pause = skip
}

func (l *load) client(ctx context.Context, id int) {
	random := rand.New(rand.NewPCG(uint64(id), 1))
	for n := 0; ctx.Err() == nil; n++ {
		key := fmt.Sprintf("load/%02d/%02d", id, random.IntN(l.keys))
		l.mu.Lock()
		skip := l.pause != nil && l.pause(key)
		l.mu.Unlock()
		if skip {
			continue
		}
		r := record{key: key}
		if random.IntN(8) > 0 {
			r.body = fmt.Appendf(nil, "%s write %d %s\n", key, n, strings.Repeat("x", l.bytes))
		}
		l.write(ctx, r)
	}
}

// write sends one write. Whatever is not acknowledged is remembered as such; so is one that
// the end of the load has cut.
func (l *load) write(ctx context.Context, r record) {
	method, body := http.MethodPut, bytes.NewReader(r.body)
	if r.body == nil {
		method = http.MethodDelete
	}
	// The write itself is carried through, so that its outcome is known.
	a, err := l.g.send(context.WithoutCancel(ctx), method, object(r.key), nil, body, int64(len(r.body)))
	if err == nil {
		r.status, r.region = a.status, a.header.Get("X-Tandem-Region")
		if r.acknowledged = a.status == http.StatusCreated || a.status == http.StatusNoContent; r.acknowledged {
			r.version, err = journal.ParseVersion(a.header.Get("X-Tandem-Version"))
			if err != nil {
				panic(fmt.Sprintf("acknowledged without a version: %s", a))
			}
		}
	}
	l.mu.Lock()
	l.records = append(l.records, r)
	l.mu.Unlock()
	if !r.acknowledged {
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond): // as a client that backs off
		}
	}
}

// all are the records so far.
func (l *load) all() []record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.records)
}

// acknowledged counts the writes that were acknowledged under an epoch.
func (l *load) acknowledged(epoch int64) (n int) {
	for _, r := range l.all() {
		if r.acknowledged && r.version.Epoch == epoch {
			n++
		}
	}
	return n
}

// last returns, for each key, the last write that was acknowledged under an epoch up to this.
func last(records []record, epoch int64) map[string]record {
	latest := make(map[string]record)
	for _, r := range records {
		if r.acknowledged && r.version.Epoch <= epoch && r.version.Compare(latest[r.key].version) > 0 {
			latest[r.key] = r
		}
	}
	return latest
}

// unacknowledged are the writes of a key of which nothing is known.
func unacknowledged(records []record, key string) (list []record) {
	for _, r := range records {
		if r.key == key && !r.acknowledged {
			list = append(list, r)
		}
	}
	return list
}
