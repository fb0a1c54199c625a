package apiclient_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gnew/tandem/internal/apiclient"
)

// transport answers without a network, so that time can be the bubble's.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(r *http.Request, status int, h http.Header, body io.ReadCloser) *http.Response {
	h.Set("X-Tandem-Region", "primary")
	return &http.Response{StatusCode: status, Header: h, Body: body, ContentLength: -1, Request: r}
}

func TestRetryAfterIsHonouredUpToABound(t *testing.T) {
	for after, want := range map[string]time.Duration{"7": 7 * time.Second, "3600": apiclient.MaxRetryDelay} {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			c, err := apiclient.New(apiclient.Config{URL: "http://gateway", Retries: 3, RetryDelay: time.Millisecond, Transport: transport(
				func(r *http.Request) (*http.Response, error) {
					if tries++; tries <= 3 {
						return answer(r, http.StatusServiceUnavailable, http.Header{"Retry-After": {after}}, http.NoBody), nil
					}
					return answer(r, http.StatusCreated, http.Header{}, io.NopCloser(strings.NewReader(`{"key":"k"}`))), nil
				})})
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			_, err = c.Put(t.Context(), "k", apiclient.PutInput{Size: 1, Open: func() (io.ReadCloser, error) {
				return io.NopCloser(strings.NewReader("x")), nil
			}})
			if took := time.Since(began); err != nil || took != 3*want {
				t.Errorf("Retry-After %s: got %v after %s, want three delays of %s", after, err, took, want)
			}
		})
	}
}

func TestDelaysGrowAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var delays []time.Duration
		c, err := apiclient.New(apiclient.Config{URL: "http://gateway", Retries: 12, Transport: transport(func(*http.Request) (*http.Response, error) {
			return nil, errors.New("broken")
		}), Retrying: func(_ error, delay time.Duration) { delays = append(delays, delay) }})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Head(t.Context(), "k", apiclient.ReadOptions{}); err == nil {
			t.Error("a broken transport answered")
		}
		if len(delays) != 12 || delays[0] > time.Second || delays[11] < 10*time.Second || slices.Max(delays) > 2*apiclient.MaxRetryDelay {
			t.Errorf("got the delays %v", delays)
		}
	})
}

// silent is an answer whose bytes do not come before its request is over.
type silent struct{ ctx context.Context }

func (s silent) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}
func (silent) Close() error { return nil }

func TestAnAnswerThatFallsSilentIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := apiclient.New(apiclient.Config{URL: "http://gateway", Transport: transport(func(r *http.Request) (*http.Response, error) {
			return answer(r, http.StatusOK, http.Header{}, silent{r.Context()}), nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		r, err := c.Open(t.Context(), "k", "", 0, apiclient.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		time.Sleep(time.Hour) // whoever takes the bytes may be slow
		_, err = r.Read(make([]byte, 1))
		if took := time.Since(began); err == nil || took != time.Hour+time.Minute {
			t.Errorf("got %v after %s, want it cut after a minute", err, took)
		}
	})
}

func TestASlowSourceIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := apiclient.New(apiclient.Config{URL: "http://gateway", Transport: transport(func(r *http.Request) (*http.Response, error) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return nil, err
			}
			if err := r.Body.Close(); err != nil {
				return nil, err
			}
			return answer(r, http.StatusCreated, http.Header{}, io.NopCloser(strings.NewReader(`{"key":"k"}`))), nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		from, to := io.Pipe()
		go func() {
			for range 3 {
				time.Sleep(time.Hour)
				_, _ = io.WriteString(to, "x")
			}
			to.Close()
		}()
		_, err = c.Put(t.Context(), "k", apiclient.PutInput{Size: -1, Open: func() (io.ReadCloser, error) { return from, nil }})
		if err != nil {
			t.Error(err)
		}
	})
}
