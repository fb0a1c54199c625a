package localregion

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/versity/versitygw/backend/meta"
)

// The names in a region's folder; doc.go says what each is for.
const (
	settingsFile = "server.json"
	lockFile     = "server.lock"
	bucketsDir   = "buckets"
	versionsDir  = "versions"
	metadataDir  = "meta"
)

// Where an object's metadata is kept.
const (
	metadataXattr   = "xattr"   // in the file's own attributes: replaced together with the body
	metadataSidecar = "sidecar" // in files under metadataDir
)

// Ports are taken from below the ranges that Linux (32768 up) and macOS and
// Windows (49152 up) use for outgoing connections. In those a restarting server could find
// its port in use by a client's socket, and a client that dials it meanwhile
// could be connected to itself.
const (
	lowestPort  = 20000
	highestPort = 32767
	portTries   = 100
)

// settings are what a region's folder remembers. They hold a secret: never log them.
type settings struct {
	Port      int    `json:"port"`
	AccessKey string `json:"accessKey"`
	SecretKey string `json:"secretKey"`
	Bucket    string `json:"bucket"`
	// MoreBuckets follow Bucket. A folder with one bucket has the file that it always had.
	MoreBuckets []string `json:"moreBuckets,omitempty"`
	Metadata    string   `json:"metadata"`
}

func (s settings) buckets() []string { return slices.Concat([]string{s.Bucket}, s.MoreBuckets) }

func (s settings) address() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port))
}

func (s settings) validate() error {
	switch {
	case s.Port < 1 || s.Port > 65535:
		return fmt.Errorf("port is %d; 1 to 65535 is allowed", s.Port)
	case s.AccessKey == "" || s.SecretKey == "":
		return errors.New("accessKey or secretKey is missing")
	case slices.Contains(s.buckets(), ""):
		return errors.New("bucket is missing, or one of moreBuckets is empty")
	case s.Metadata != metadataXattr && s.Metadata != metadataSidecar:
		return fmt.Errorf("metadata is %q; %q or %q is allowed", s.Metadata, metadataXattr, metadataSidecar)
	}
	return nil
}

// openSettings reads the settings of a folder, or makes them where there are
// none; buckets, one at least, replace those on record. The folders exist when it returns.
func openSettings(dir string, buckets []string) (settings, error) {
	for _, sub := range []string{bucketsDir, versionsDir, metadataDir} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return settings{}, err
		}
	}
	s, err := readSettings(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s, err = newSettings(dir)
	case err == nil && slices.Equal(s.buckets(), buckets):
		return s, nil
	}
	if err != nil {
		return settings{}, err
	}
	s.Bucket, s.MoreBuckets = buckets[0], buckets[1:]
	return s, writeSettings(dir, s)
}

func newSettings(dir string) (settings, error) {
	port, err := freePort(portsBeside(dir))
	if err != nil {
		return settings{}, err
	}
	metadata, err := probeMetadata(filepath.Join(dir, bucketsDir))
	if err != nil {
		return settings{}, err
	}
	return settings{Port: port, AccessKey: rand.Text(), SecretKey: rand.Text() + rand.Text(), Metadata: metadata}, nil
}

func readSettings(dir string) (settings, error) {
	name := filepath.Join(dir, settingsFile)
	data, err := os.ReadFile(name)
	if err != nil {
		return settings{}, err
	}
	var s settings
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		return settings{}, fmt.Errorf("read %s: %w", name, err)
	}
	if err := s.validate(); err != nil {
		return settings{}, fmt.Errorf("read %s: %w", name, err)
	}
	return s, nil
}

// writeSettings replaces the settings of a folder. A crash leaves the old file or
// the new one whole, for the new one is on disk before it gets the name; and
// perhaps a file of another name, which nothing reads.
func writeSettings(dir string, s settings) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(dir, settingsFile+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // finds nothing once renamed
	_, err = file.Write(append(data, '\n'))
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", file.Name(), err)
	}
	if err := os.Rename(file.Name(), filepath.Join(dir, settingsFile)); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// portsBeside returns the ports of the regions whose folders lie beside dir: those of
// one gateway do, and choose their ports before any of them listens.
func portsBeside(dir string) (ports []int) {
	parent := filepath.Dir(dir)
	entries, _ := os.ReadDir(parent) // what cannot be read is not a region of ours
	for _, entry := range entries {
		if s, err := readSettings(filepath.Join(parent, entry.Name())); err == nil {
			ports = append(ports, s.Port)
		}
	}
	return ports
}

// freePort returns a port on which nothing listens now and that is none of taken. Another
// program may still be first to listen there; Run then says so.
func freePort(taken []int) (int, error) {
	var last error
	for range portTries {
		n, err := rand.Int(rand.Reader, big.NewInt(highestPort-lowestPort+1))
		if err != nil {
			return 0, err
		}
		port := lowestPort + int(n.Int64())
		if slices.Contains(taken, port) {
			continue
		}
		listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return port, listener.Close()
		}
		last = err
	}
	return 0, fmt.Errorf("find a free port between %d and %d: %w", lowestPort, highestPort, last)
}

// probeMetadata finds out whether the file system of dir takes user attributes.
// They are preferred: a file's attributes change with it in one rename, while files
// beside it are written one by one and a killed server may leave them ahead of the body.
func probeMetadata(dir string) (string, error) {
	file, err := os.CreateTemp(dir, ".probe.*")
	if err != nil {
		return "", err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	err = meta.XattrMeta{}.StoreAttribute(file, "", "", "probe", []byte("probe"))
	switch {
	case err == nil:
		return metadataXattr, nil
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, fs.ErrPermission):
		return metadataSidecar, nil
	default:
		return "", fmt.Errorf("try file attributes in %s: %w", dir, err)
	}
}
