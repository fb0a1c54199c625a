package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/gnew/tandem/internal/config"
	"github.com/gnew/tandem/internal/mark"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/region/localregion"
)

// checkpointOfFile reads a signed note, or one out of JSON: the gateway's state and a mark
// have it as "checkpoint", a line of the log as "note".
func checkpointOfFile(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	data = bytes.TrimSpace(data)
	if !bytes.HasPrefix(data, []byte("{")) {
		return append(data, '\n'), nil // the end of a note may be lost on its way through a mail
	}
	var has struct{ Checkpoint, Note string }
	if err := json.Unmarshal(data, &has); err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	if has.Checkpoint == "" && has.Note == "" {
		return nil, errors.New(`its JSON has no member "checkpoint" or "note", or an empty one: a gateway signs its first checkpoint as it starts`)
	}
	return []byte(has.Checkpoint + has.Note), nil
}

// checkpointOfRegion reads the one in the region's mark, the newest of those in its buckets: one may have been restored,
// or not have been marked yet.
func checkpointOfRegion(ctx context.Context, cfg config.Config, name string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.RegionTimeout)
	defer cancel()
	c, err := configured(cfg, name)
	if err != nil {
		return nil, err
	}
	var newest *mark.Content
	var failures error
	for _, bucket := range cfg.BucketsIn(name) {
		content, err := readMark(ctx, cfg, c, bucket)
		failures = errors.Join(failures, err)
		if content != nil && (newest == nil || content.IsAfter(newest)) {
			newest = content
		}
	}
	switch {
	case newest == nil && failures != nil && c.Embedded():
		return nil, fmt.Errorf("%w (an embedded region runs while its gateway does)", failures)
	case newest == nil && failures != nil:
		return nil, failures
	case newest == nil:
		return nil, fmt.Errorf("the region has no mark (%s in bucket %s)", mark.Key, strings.Join(cfg.BucketsIn(name), ", "))
	case newest.Checkpoint == "":
		return nil, errors.New("the region's mark has none yet")
	}
	return []byte(newest.Checkpoint), nil
}

func readMark(ctx context.Context, cfg config.Config, c config.Region, bucket string) (*mark.Content, error) {
	r, err := openRegion(ctx, cfg, c, bucket)
	if err != nil {
		return nil, err
	}
	return mark.Read(ctx, r)
}

func configured(cfg config.Config, name string) (config.Region, error) {
	var names []string
	for _, c := range cfg.Regions {
		names = append(names, c.Name)
	}
	i := slices.Index(names, name)
	if i < 0 {
		return config.Region{}, fmt.Errorf("no region %q is configured; configured are: %s", name, strings.Join(names, ", "))
	}
	return cfg.Regions[i], nil
}

// openRegion makes a client of a bucket of the region; of an embedded one for the process that a gateway runs.
func openRegion(ctx context.Context, cfg config.Config, c config.Region, bucket string) (*region.Region, error) {
	rc := regionConfig(cfg, c)
	rc.Bucket = bucket
	if c.Embedded() {
		if _, err := embeddedRegion(cfg, c, &rc, []string{regionServer}); err != nil {
			return nil, err
		}
	}
	return region.New(ctx, rc)
}

// regionConfig is what a client of a region that is not embedded needs, but for the bucket.
func regionConfig(cfg config.Config, c config.Region) region.Config {
	return region.Config{
		Name: c.Name, Endpoint: c.Endpoint, S3Region: c.S3Region, AccessKey: c.AccessKey, SecretKey: c.SecretKey,
		ForcePathStyle: c.ForcePathStyle, CAFile: c.CAFile, Timeout: cfg.RegionTimeout,
	}
}

// embeddedRegion finds an embedded region whose folder is there, and completes rc.
func embeddedRegion(cfg config.Config, c config.Region, rc *region.Config, command []string) (*localregion.Region, error) {
	// One that is not there would be made.
	if _, err := os.Stat(c.EmbeddedDir); err != nil {
		return nil, fmt.Errorf("find the embedded region: %w", err)
	}
	local, err := localregion.New(localregion.Config{
		Name: c.Name, Dir: c.EmbeddedDir, Buckets: cfg.BucketsIn(c.Name), Command: command, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	rc.Endpoint, rc.S3Region, rc.CheckKey = local.Endpoint(), local.S3Region(), local.CheckKey
	rc.AccessKey, rc.SecretKey = local.Credentials()
	return local, nil
}
