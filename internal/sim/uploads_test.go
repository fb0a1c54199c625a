package sim

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	uploadsOfWorld = 16
	uploadTimeout  = 10 * time.Second
	// presignGrace is as long as what was begun in time may land late.
	presignGrace = doubtWindow + uploadTimeout
)

// hasUploads: in one history of seven presigned URLs are used.
func (w *world) hasUploads() bool { return w.seed%7 == 1 }

// uploads puts objects into the regions past the gateway, by presigned URLs.
func (c *client) uploads() {
	for n := range uploadsOfWorld {
		time.Sleep(time.Duration(c.random.Int64N(int64(4 * thinkingTime))))
		c.w.changing <- struct{}{}
		<-c.w.changing
		c.upload(pick(c.random, keysAt(n*opsOfClient/uploadsOfWorld)...), n)
	}
}

// upload uses a URL once or twice, as long as a region would take it.
func (c *client) upload(key string, n int) {
	wish := map[string]any{"op": "put", "key": key, "expiresSec": 1 + c.random.IntN(20)}
	if c.random.IntN(3) == 0 {
		wish["region"] = pick(c.random, c.w.sites...).name
	}
	uses, unique := 1+c.random.IntN(2), fmt.Sprintf("%s by url, %d", key, n)
	var delays []time.Duration
	for range uses {
		delays = append(delays, time.Duration(c.random.Int64N(int64(8*time.Second))))
	}
	a := c.w.post(c.w.inBucket("/sign", c.w.bucketOf(key)), wish)
	var signed struct {
		URL, Region string
		ExpiresAt   time.Time
	}
	if a.status != http.StatusOK || decode(a.body, &signed) != nil {
		c.w.note("%s signs %v: %v", c.name, wish, a)
		return
	}
	c.w.count(urlSigned)
	for i, delay := range delays {
		if time.Sleep(delay); time.Now().After(signed.ExpiresAt) {
			return
		}
		body := fmt.Sprintf("%s, %d", unique, i)
		if c.random.IntN(4) == 0 {
			body = unique // the same again
		}
		w := &write{client: c.name, key: key, value: etagOf(body), body: body}
		c.w.model.begin(w)
		status, err := c.putDirectly(signed.URL, signed.Region, body)
		c.w.model.end(w, outcome{fate: unknown, answer: fmt.Sprintf("%d %v from %s past the gateway", status, err, signed.Region)})
		c.w.note("%s", w)
		if status == http.StatusOK {
			c.w.count(uploaded)
		}
	}
}

// putDirectly sends a PUT to a region, on a connection of its own.
func (c *client) putDirectly(url, region, body string) (int, error) {
	req, err := http.NewRequest(http.MethodPut, url, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	direct := http.Client{Timeout: uploadTimeout, Transport: &http.Transport{DialContext: c.w.site(region).dial, DisableKeepAlives: true}}
	resp, err := direct.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}
