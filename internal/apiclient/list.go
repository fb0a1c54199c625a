package apiclient

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"time"

	"github.com/gnew/tandem/internal/s3op"
)

// Entry is a line of a listing: an object, or with a Prefix the keys that have it in common.
type Entry struct {
	Key, ETag    string
	Size         int64
	LastModified time.Time
	Prefix       string
}

// ListInput chooses what is listed.
type ListInput struct {
	// Prefix that all keys have; "" for all keys.
	Prefix string
	// Delimiter that ends a common prefix; "" for none.
	Delimiter string
	// PageEntries is what one request asks for, 1 to 1000; 0 for the most.
	PageEntries int
	ReadOptions
	// Page is told of each page how fresh it is. Default: nobody.
	Page func(freshness, region string)
}

type pageAnswer struct {
	Objects []struct {
		Key, ETag    string
		Size         int64
		LastModified time.Time
	}
	CommonPrefixes []string
	Cursor         *string
}

// List gives what is listed, in byte order, one page in memory at a time. An error is the last
// it gives. It may be left at any time.
func (c *Client) List(ctx context.Context, in ListInput) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		parameters := map[string]string{"prefix": in.Prefix, "delimiter": in.Delimiter}
		if in.PageEntries > 0 {
			parameters["limit"] = strconv.Itoa(in.PageEntries)
		}
		for {
			page, err := c.page(ctx, parameters, in)
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for e := range page.merged() {
				if !yield(e, nil) {
					return
				}
			}
			switch {
			case page.Cursor == nil:
				return
			case *page.Cursor == "" || *page.Cursor == parameters["cursor"]:
				yield(Entry{}, fmt.Errorf("the listing goes on at %q, where it began", *page.Cursor))
				return
			}
			parameters["cursor"] = *page.Cursor
		}
	}
}

func (c *Client) page(ctx context.Context, parameters map[string]string, in ListInput) (*pageAnswer, error) {
	var page pageAnswer
	err := c.readJSON(ctx, c.inBucket("/objects", parameters), in.header(), func(data []byte, h http.Header) error {
		if err := json.Unmarshal(data, &page); err != nil {
			return fmt.Errorf("read the listing (is the gateway's version another than this command's?): %w", err)
		}
		if in.Page != nil {
			in.Page(h.Get("X-Tandem-Freshness"), h.Get("X-Tandem-Region"))
		}
		return nil
	})
	return &page, err
}

// merged are a page's objects and prefixes in one order.
func (p *pageAnswer) merged() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		prefixes := p.CommonPrefixes
		for _, o := range p.Objects {
			for ; len(prefixes) > 0 && prefixes[0] < o.Key; prefixes = prefixes[1:] {
				if !yield(Entry{Prefix: prefixes[0]}) {
					return
				}
			}
			if !yield(Entry{Key: o.Key, ETag: o.ETag, Size: o.Size, LastModified: o.LastModified}) {
				return
			}
		}
		for _, prefix := range prefixes {
			if !yield(Entry{Prefix: prefix}) {
				return
			}
		}
	}
}

// Replication is what is known of a key in each region.
type Replication struct {
	Key, Version, ETag string
	Deleted, Settled   bool
	Size               int64
	Regions            []Copy
	// JSON is the gateway's answer.
	JSON []byte
}

// Copy is a region's copy of a key.
type Copy struct {
	Region, State, Version string
	Attempts               int
	LastError, NextTry     *string
}

// Replication tells how far a key's copies are.
func (c *Client) Replication(ctx context.Context, key string) (Replication, error) {
	var r Replication
	err := c.readJSON(ctx, c.inBucket("/replication/"+s3op.EscapePath(key), nil), nil, func(data []byte, _ http.Header) error {
		if err := json.Unmarshal(data, &r); err != nil {
			return fmt.Errorf("read the state of the copies (is the gateway's version another than this command's?): %w", err)
		}
		r.JSON = data
		return nil
	})
	return r, err
}

// Regions are the names of the gateway's regions, in no order. It needs no token.
func (c *Client) Regions(ctx context.Context) ([]string, error) {
	var names []string
	err := c.readJSON(ctx, "/healthz", nil, func(data []byte, _ http.Header) error {
		var health struct{ Regions map[string]string }
		if err := json.Unmarshal(data, &health); err != nil {
			return fmt.Errorf("read the gateway's health: %w", err)
		}
		for name := range health.Regions {
			names = append(names, name)
		}
		return nil
	})
	return names, err
}
