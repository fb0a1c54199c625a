package sim

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gnew/tandem/internal/journal"
)

// The promises, as they are counted when they are checked.
const (
	durability   = "promise 1: what was acknowledged is there"
	convergence  = "promise 2: every region is brought to it"
	freshness    = "promise 3: no read is stale in silence"
	listings     = "promise 3: no listing is stale in silence"
	staleSaid    = "promise 3: what is stale says so"
	deletion     = "promise 4: what was deleted does not come back"
	oneActive    = "promise 5: an epoch has one active"
	exactLedger  = "promise 6: the ledger has what is at risk"
	doubtLedger  = "promise 6: the ledger has what is in doubt"
	closedLedger = "promise 6: each entry is closed, with a reason"
	failback     = "promise 7: a write at risk is kept, replaced in its own history, or lost on the record"
	losersKept   = "promise 7: a conflict's loser is kept byte for byte"
	trail        = "promise 8: the audit chain has every change and verifies"
	refusal      = "promise 9: a refused write was never written"
	integrity    = "promise 12: what arrives is what was sent"
	quiescence   = "it comes to rest"

	operations     = "operations of clients"
	operationsOfS3 = "operations of clients, through the S3 API"
)

// promises is every one.
var promises = []string{
	durability, convergence, freshness, listings, staleSaid, deletion, oneActive, exactLedger, doubtLedger, closedLedger, failback, losersKept, trail, refusal, integrity, quiescence, judged, refusals,
}

const (
	clients      = 4
	opsOfClient  = 60
	keysOfWorld  = 7
	largeBody    = 70 << 10 // beyond what is read first: its last byte is held back
	partsBody    = 80 << 10 // three parts
	thinkingTime = 1500 * time.Millisecond
)

func keys() (list []string) {
	for i := range keysOfWorld * *windows {
		list = append(list, fmt.Sprintf("k/%d", i))
	}
	return list
}

// client does one operation after the other.
type client struct {
	w      *world
	name   string
	random *rand.Rand
	// seen is the ETag that the client last read of a key.
	seen map[string]string
	// s3 is how it does its present operation: through the S3 API.
	s3 bool
}

func (c *client) run() {
	for n := range opsOfClient {
		time.Sleep(time.Duration(c.random.Int64N(int64(thinkingTime))))
		c.w.changing <- struct{}{} // while a life begins there is nobody to ask
		<-c.w.changing
		c.step(pick(c.random, keysAt(n)...), n)
	}
}

// stretched is a body of a size that begins and ends with what it is of: half of another is noticed.
func stretched(value, with string, size int) string {
	return value + " " + strings.Repeat(with, size-2*len(value)-2) + " " + value
}

func (c *client) step(key string, n int) {
	c.w.count(operations)
	if c.s3 = c.takesS3(n); c.s3 {
		c.w.count(operationsOfS3)
	}
	unique := fmt.Sprintf("%s by %s, %d", key, c.name, n)
	switch c.random.IntN(20) {
	case 0, 1, 2:
		c.put(key, unique, nil)
	case 3, 4:
		c.put(key, key+" again "+pick(c.random, "0", "1"), nil)
	case 5:
		c.put(key, stretched(unique, ".", largeBody), nil)
	case 6:
		c.putParts(key, stretched(unique, "-", partsBody))
	case 7, 8, 9:
		c.remove(key)
	case 10:
		c.put(key, unique, http.Header{"If-None-Match": {"*"}})
	case 11:
		if etag := c.seen[key]; etag != "" {
			c.put(key, unique, http.Header{"If-Match": {`"` + etag + `"`}})
		}
	case 12, 13:
		c.list()
	case 14:
		c.read(key, http.MethodGet, "?repair=1", nil)
		c.w.count(operatorRepaired)
	case 15:
		c.read(key, http.MethodGet, "?prefer=replica", nil)
	case 16:
		c.read(key, http.MethodHead, "", nil)
	case 17:
		c.read(key, http.MethodGet, "", http.Header{"X-Tandem-Allow-Stale": {"1"}})
	default:
		c.read(key, http.MethodGet, "", nil)
	}
}

func etagOf(body string) string {
	sum := md5.Sum([]byte(body))
	return hex.EncodeToString(sum[:])
}

func etagOfParts(body string) string {
	all := md5.New()
	n := 0
	for part := range slices.Chunk([]byte(body), partBytes) {
		sum := md5.Sum(part)
		all.Write(sum[:])
		n++
	}
	return fmt.Sprintf("%s-%d", hex.EncodeToString(all.Sum(nil)), n)
}

func (c *client) put(key, body string, conditions http.Header) {
	c.write(&write{client: c.name, key: key, value: etagOf(body), body: body}, func() answer {
		began := c.w.model.now()
		var a answer
		if c.s3 {
			a = c.putS3(key, body, conditions)
		} else {
			a = c.w.do(http.MethodPut, "/objects/"+key, strings.NewReader(body), int64(len(body)), conditions)
		}
		c.checkCondition(key, conditions, began, a)
		return a
	})
}

// putParts sends a body without a length.
func (c *client) putParts(key, body string) {
	c.write(&write{client: c.name, key: key, value: etagOfParts(body), body: body}, func() answer {
		if c.s3 {
			return c.uploadS3(key, body)
		}
		return c.w.do(http.MethodPut, "/objects/"+key, io.NopCloser(strings.NewReader(body)), -1, nil)
	})
}

func (c *client) remove(key string) {
	c.write(&write{client: c.name, key: key, value: absent}, func() answer {
		if c.s3 {
			return c.w.doS3(http.MethodDelete, c.w.s3Path(key), nil, nil, unsigned)
		}
		return c.w.do(http.MethodDelete, "/objects/"+key, nil, 0, nil)
	})
}

func (c *client) write(w *write, send func() answer) {
	c.w.model.begin(w)
	a := send()
	o := c.outcome(w, a)
	c.w.model.end(w, o)
	c.w.note("%s", w)
}

// outcome reads what the answer to a write says of it.
func (c *client) outcome(w *write, a answer) outcome {
	o := outcome{fate: unknown, answer: fmt.Sprintf("%d", a.status)}
	switch {
	case a.err != nil:
		o.answer = a.err.Error()
	case a.status == http.StatusCreated, a.status == http.StatusNoContent, a.status == http.StatusOK && c.s3:
		o.fate = acknowledged
		var err error
		if o.version, err = journal.ParseVersion(a.header.Get("X-Tandem-Version")); err != nil {
			c.w.violated(durability, "%s %s: acknowledged without a version: %v", c.name, w.key, a)
		}
		o.region = a.header.Get("X-Tandem-Region")
	case a.status == http.StatusPreconditionFailed, a.status == http.StatusConflict, a.status == http.StatusNotImplemented,
		a.status == http.StatusBadRequest, a.status == http.StatusNotFound, a.says("nothing was written"), a.says("NotYetReplicated"):
		o.fate = refused
	case a.status != http.StatusServiceUnavailable:
		c.w.violated(integrity, "%s %s: a write is answered %v", c.name, w.key, a)
	default:
		o.answer = fmt.Sprintf("503 %.150s", a.body)
	}
	return o
}

func (c *client) read(key, method, query string, header http.Header) {
	began := c.w.model.now()
	var a answer
	if c.s3 = c.s3 && query == ""; c.s3 {
		a = c.w.doS3(method, c.w.s3Path(key), nil, header, unsigned)
	} else {
		a = c.w.do(method, "/objects/"+key+query, nil, 0, header)
	}
	ended := c.w.model.now()
	value := absent
	switch {
	case a.status == http.StatusOK:
		value = strings.Trim(a.header.Get("Etag"), `"`)
	case a.status == http.StatusNotFound:
	case a.status == http.StatusServiceUnavailable || a.err != nil && a.status == 0:
		return
	default:
		c.w.violated(freshness, "%s: a read of %s is answered %v", c.name, key, a)
		return
	}
	said := a.header.Get("X-Tandem-Freshness")
	c.w.note("[%d,%d] %s reads %s%s: %d %s %s %s", began, ended, c.name, key, query, a.status, value, said, a.header.Get("X-Tandem-Region"))
	if a.status == http.StatusOK && method == http.MethodGet {
		c.checkBody(key, value, a)
	}
	if said == "stale" || said == "unknown" {
		c.w.count(staleSaid)
		return
	}
	c.checkRead(freshness, key, value, began, ended)
	c.w.model.observe(key, value, ended)
	c.seen[key] = value
}

// checkBody: a body that was answered whole is the one that was sent.
func (c *client) checkBody(key, value string, a answer) {
	if a.err != nil {
		return // cut, and said to be
	}
	body, known := c.w.model.body(value)
	c.w.count(integrity)
	if !known || body != string(a.body) {
		c.w.violated(integrity, "%s reads %s as %d bytes with ETag %s, which nobody sent", c.name, key, len(a.body), value)
	}
}

// checkRead judges what was shown as the key's acknowledged state.
func (c *client) checkRead(promise, key, value string, began, ended int64) {
	if c.w.blind.Load() {
		return // what a region lost since its last mark is noticed by the next
	}
	c.w.count(promise)
	last := c.w.model.last(key)
	if last != nil && last.value == absent {
		c.w.count(deletion)
	}
	if !c.w.model.permits(key, value, began, ended) {
		c.w.violated(promise, "%s is shown %s as %q in [%d,%d]; index %s; history:%s", c.name, key, value, began, ended, c.w.describe(key), c.w.model.history(key))
	}
}

type listing struct {
	Objects []struct {
		Key, ETag string
	}
	Truncated bool
	Cursor    *string
}

// list reads a listing to its end, in pages of a size of its own; each page is judged for the keys that it
// covers.
func (c *client) list() {
	limit, bucket := pick(c.random, 1, 2, 3, 1000), c.w.bucket
	if c.w.hasTwo && c.random.IntN(2) == 0 {
		bucket = secondBucket
	}
	cursor, after := "", ""
	for {
		began := c.w.model.now()
		var a answer
		var l listing
		var err error
		if c.s3 {
			a, l = c.listS3(bucket, limit, cursor)
		} else {
			a = c.w.do(http.MethodGet, c.w.inBucket(fmt.Sprintf("/objects?prefix=k/&limit=%d&cursor=%s", limit, url.QueryEscape(cursor)), bucket), nil, 0, nil)
			err = decode(a.body, &l)
		}
		ended := c.w.model.now()
		if a.status == http.StatusServiceUnavailable || a.err != nil {
			return
		}
		if a.status != http.StatusOK || err != nil || l.Truncated != (l.Cursor != nil) {
			c.w.violated(listings, "a listing is answered %v", a)
			return
		}
		upTo := "\xff"
		if l.Truncated && len(l.Objects) > 0 {
			upTo = l.Objects[len(l.Objects)-1].Key
		} else if l.Truncated {
			upTo = after // a page of nothing but tombstones says nothing by itself
		}
		c.judgePage(a, l, bucket, after, upTo, began, ended)
		if !l.Truncated {
			return
		}
		cursor, after = *l.Cursor, upTo
	}
}

// judgePage judges what a page says of the bucket's keys after one and up to another.
func (c *client) judgePage(a answer, l listing, bucket, after, upTo string, began, ended int64) {
	shown := make(map[string]string)
	for _, o := range l.Objects {
		shown[o.Key] = o.ETag
	}
	said := a.header.Get("X-Tandem-Freshness")
	c.w.note("[%d,%d] %s lists %v after %q up to %q %s %s", began, ended, c.name, shown, after, upTo, said, a.header.Get("X-Tandem-Region"))
	if said == "stale" || said == "unknown" {
		c.w.count(staleSaid)
		return
	}
	for _, key := range keys() {
		if key <= after || key > upTo || c.w.bucketOf(key) != bucket {
			continue
		}
		if slices.ContainsFunc(c.w.model.of(key), func(w write) bool { return w.began < ended && (w.ended == 0 || w.ended > began) }) {
			c.w.count(listingRaces)
		}
		c.checkRead(listings, key, shown[key], began, ended)
	}
}
