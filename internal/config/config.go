// Package config is the configuration of the gateway: one struct, read from
// environment variables and from the YAML file that one of them may name, with every mistake
// reported at once.
//
// A single table (variables) names each variable once, with its default, what it
// accepts and what it is for. Reading, checking, masking of secrets, the output of
// "tandem config show" and the reference in the documentation all come from it,
// so they cannot disagree.
//
// Loading reads that file, and those that hold secrets, certificates and keys, writes nothing and
// resolves no name: whether a folder can be written or a bucket exists is for the part that
// uses it to find out.
package config

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Config is what the gateway runs with. Load fills every field and checks it;
// a Config made by hand is not checked. Sizes are in bytes; paths that are not absolute
// start from the working directory. It is a plain value: safe to share as long as
// nobody changes its slices.
type Config struct {
	File string // CONFIG: the file that was read; empty where none was

	ListenAddress string // LISTEN_ADDRESS: an IP address or host name, without a port
	Port          int    // PORT: 0 to 65535; 0 means any free port
	S3Port        int    // S3_PORT: likewise, for the S3 API
	S3Domain      string // S3_DOMAIN: a host name below which each bucket has one of its own; empty means in the path alone

	// GatewayAccessKey and GatewaySecretKey are the access key of S3 clients: set both or neither. Without
	// them the gateway makes one at its first start.
	GatewayAccessKey string `json:"-"` // GATEWAY_ACCESS_KEY
	GatewaySecretKey string `json:"-"` // GATEWAY_SECRET_KEY

	// MasterKey seals the access keys in the journal: 32 bytes, or none. Without it the gateway makes one at its first start.
	MasterKey []byte `json:"-"` // MASTER_KEY

	// TLSCert and TLSKey are the PEM files of the listener's certificate and key: set both,
	// and belonging together, or neither. Without them the listener speaks plain HTTP.
	TLSCert, TLSKey string // TLS_CERT, TLS_KEY

	DataDir      string // DATA_DIR: holds the index and, by default, the embedded regions
	DatabasePath string // DATABASE_URL: the SQLite file of the journal and index; a path, never a URL

	// Buckets are those that clients see, in configured order, at least one; the first is meant by
	// requests that name none.
	Buckets []Bucket

	// Bucket is BUCKET, and empty where the file lists buckets. Buckets is what is served.
	Bucket       string
	Regions      []Region // in configured order, at least one; the first is the primary
	ActiveRegion string   // ACTIVE_REGION: which of Regions is active in a new journal
	FailoverMode FailoverMode

	FailoverHoldDown time.Duration // FAILOVER_HOLD_DOWN: after a promotion, no other by itself for as long
	HealthInterval   time.Duration // HEALTH_INTERVAL: between two probes of a region
	HealthTimeout    time.Duration // HEALTH_TIMEOUT: of a probe
	HealthFailures   int           // HEALTH_FAILURES: in a row that make a region down
	HealthRecoveries int           // HEALTH_RECOVERIES: successes in a row that make it up again
	MarkInterval     time.Duration // MARK_INTERVAL: between two marks of a region, and two audit checkpoints

	PresignExpires time.Duration // PRESIGN_EXPIRES: whole seconds, 1 s to 7 days
	PresignGrace   time.Duration // PRESIGN_GRACE

	AdminToken string  `json:"-"` // ADMIN_TOKEN: opens everything; empty means none, which only a loopback listener may have
	APITokens  []Token // API_TOKENS: open objects and replication states; names and secrets are unique

	MaxObjectBytes int64      // MAX_OBJECT_BYTES: the largest object accepted, by a bucket that does not say
	MaxJSONBytes   int64      // MAX_JSON_BYTES: the largest JSON body accepted; it is held in memory
	StaleReads     StaleReads // STALE_READS: of buckets that do not say

	LogLevel  slog.Level
	LogFormat LogFormat

	DrainTimeout       time.Duration // DRAIN_TIMEOUT: for requests still running after SIGTERM
	RegionTimeout      time.Duration // REGION_TIMEOUT: how long a region may make no progress on a request
	DoubtWindow        time.Duration // DOUBT_WINDOW: how long after its deadline an unanswered write may still land
	MinFreeBytes       int64         // MIN_FREE_BYTES: with less room for DataDir, writes get 503; 0 switches the check off
	ReplicationWorkers int           // REPLICATION_WORKERS: copies at once for each region

	settings []Setting // what Load read, secrets masked
}

// Bucket is one that clients see.
type Bucket struct {
	Name string `json:"name"` // unique
	// Regions are those that have it, in the order of Config.Regions; at least one, and ActiveRegion
	// among them: one region is active for all buckets.
	Regions        []BucketRegion `json:"regions"`
	StaleReads     StaleReads     `json:"staleReads"`     // its own where the file says so, else the Config's
	MaxObjectBytes int64          `json:"maxObjectBytes"` // likewise
}

// BucketRegion is a bucket in one region.
type BucketRegion struct {
	Region string `json:"region"` // its name
	Bucket string `json:"bucket"` // what the bucket is called there; no other one is the same bucket
}

// In returns what the bucket is called in a region, "" where that does not have it.
func (b Bucket) In(region string) string {
	for _, r := range b.Regions {
		if r.Region == region {
			return r.Bucket
		}
	}
	return ""
}

// BucketsIn returns what the buckets that a region has are called there, in the order of Buckets; at least one.
func (c Config) BucketsIn(region string) []string {
	var names []string
	for _, b := range c.Buckets {
		if name := b.In(region); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// Region is one S3 endpoint with its credentials.
type Region struct {
	Name string // primary, secondary, or as the file has it; unique

	// EmbeddedDir is the folder of an embedded region, empty for every other. Where it
	// is set, Endpoint and both keys are empty: the gateway starts the S3 server of that
	// folder itself, and chooses its port and keys.
	EmbeddedDir string

	// Endpoint is scheme://host[:port] in lower case, and empty for the AWS region
	// named S3Region, whose endpoint the SDK knows.
	Endpoint string

	// PublicEndpoint is what presigned URLs name, of the same form; empty where that is Endpoint.
	PublicEndpoint string

	S3Region string // the region name that requests are signed for; never empty

	// AccessKey and SecretKey are set both or neither; without them the SDK's default
	// credential chain applies (profile, IAM role, web identity).
	AccessKey string `json:"-"`
	SecretKey string `json:"-"`

	// Bucket is the region's own BUCKET, and empty where the file lists buckets. Config.Buckets says
	// which there are in a region.
	Bucket string

	// ForcePathStyle puts the bucket in the path instead of the host name. It is always
	// true where the endpoint is an IP address or localhost, as every embedded region's
	// is: those names have no subdomains to carry a bucket.
	ForcePathStyle bool

	// CAFile is a PEM file with the certificates of authorities that are trusted beside the
	// system's, empty where there are none. Only a region with an https endpoint has one.
	CAFile string
}

// Embedded reports whether the gateway runs this region itself.
func (r Region) Embedded() bool { return r.EmbeddedDir != "" }

// Token is a named API token. The name is for logs and audit entries.
type Token struct {
	Name   string // unique
	Secret string `json:"-"` // what a client sends after "Authorization: Bearer"; unique
}

// FailoverMode says who promotes a replica when the active region fails.
type FailoverMode string

// The failover modes.
const (
	FailoverAuto   FailoverMode = "auto"   // the gateway
	FailoverManual FailoverMode = "manual" // an operator
)

// StaleReads says what happens to a read for which only an older version can be had.
type StaleReads string

// The rules for stale reads.
const (
	StaleReadsRefuse StaleReads = "refuse" // 503 NotYetReplicated, unless the request allows stale data
	StaleReadsServe  StaleReads = "serve"  // the older version, with a header that says so
)

// LogFormat is the form of log lines.
type LogFormat string

// The log formats.
const (
	LogAuto LogFormat = "auto" // text on a terminal, JSON otherwise
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// Address returns the address to listen on, in the form that net.Listen takes.
func (c Config) Address() string {
	return net.JoinHostPort(c.ListenAddress, strconv.Itoa(c.Port))
}

// S3Address returns the address to listen on for the S3 API.
func (c Config) S3Address() string {
	return net.JoinHostPort(c.ListenAddress, strconv.Itoa(c.S3Port))
}

// Loopback reports whether only this machine can reach ListenAddress: 127.0.0.0/8, ::1
// or localhost. Any other host name counts as reachable from elsewhere, whatever it
// may resolve to today.
func (c Config) Loopback() bool {
	addr, err := netip.ParseAddr(c.ListenAddress)
	if err != nil {
		return strings.EqualFold(c.ListenAddress, "localhost")
	}
	return addr.IsLoopback()
}

// The three methods below keep secrets out of whatever prints a whole value, with any
// verb: a log line with the configuration in it is written sooner or later. JSON is
// covered by the tags above.

// Format implements fmt.Formatter: the settings and the buckets, one to a line, secrets masked.
func (c Config) Format(f fmt.State, _ rune) {
	for _, s := range c.settings {
		fmt.Fprintf(f, "%s=%s\n", s.Name, s.Value)
	}
	for _, b := range c.Buckets {
		fmt.Fprintf(f, "%s.%s=%v\n", bucketsKey, b.Name, b.Regions)
	}
}

// Format implements fmt.Formatter: the region without its keys.
func (r Region) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "{%s %s%s %s %s}", r.Name, r.EmbeddedDir, r.Endpoint, r.S3Region, r.Bucket)
}

// Format implements fmt.Formatter: the token's name.
func (t Token) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "{%s %s}", t.Name, masked) }
