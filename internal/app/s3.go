package app

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gnew/tandem/internal/accesskey"
	"github.com/gnew/tandem/internal/s3api"
)

// credentialsFile is where the access key is that a gateway made for itself, in the data folder.
const credentialsFile = "s3-credentials"

func (a *App) buildS3(registry *prometheus.Registry) error {
	cfg := s3api.Config{Keys: s3Keys{a.keys}, Domain: a.cfg.S3Domain, Logger: a.opt.Logger, Metrics: s3api.NewMetrics(registry)}
	for _, b := range a.buckets.list {
		cfg.Buckets = append(cfg.Buckets, s3api.Bucket{Name: b.Name, Gateway: b.gateway})
	}
	var err error
	a.s3, err = s3api.New(cfg)
	return err
}

// s3Keys finds access keys for the S3 front.
type s3Keys struct{ keys *accesskey.Store }

func (k s3Keys) Find(id string) (s3api.Key, bool) {
	key, ok := k.keys.Find(id)
	return s3api.Key{ID: key.ID, Secret: key.Secret, Role: s3api.Role(key.Role), Buckets: key.Buckets, Prefixes: key.Prefixes}, ok
}

// AccessKeyPlace says where the access key of S3 clients is, for people.
func (a *App) AccessKeyPlace() string {
	if a.cfg.GatewayAccessKey != "" {
		return "GATEWAY_ACCESS_KEY"
	}
	return filepath.Join(a.cfg.DataDir, credentialsFile)
}

// ownCredentials returns the access key in the file, and makes both where there is none. The file is one that AWS's tools
// read (AWS_SHARED_CREDENTIALS_FILE), for its owner alone. It is on disk, whole, before the key is good for anything.
func ownCredentials(path string) (id, secret string, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		id, secret = accesskey.NewPair()
		return id, secret, writeWhole(path, fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", id, secret))
	}
	if err != nil {
		return "", "", err
	}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(line, "=")
		switch strings.TrimSpace(name) {
		case "aws_access_key_id":
			id = strings.TrimSpace(value)
		case "aws_secret_access_key":
			secret = strings.TrimSpace(value)
		}
	}
	if id == "" || secret == "" {
		return "", "", fmt.Errorf("%s has no access key: remove it, and another one is made", path)
	}
	return id, secret, nil
}

// writeWhole makes a file for its owner alone: it is on disk, whole and under its name, on return. A crash before that may leave
// one of another name, which nothing reads.
func writeWhole(path, content string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = io.WriteString(f, content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
