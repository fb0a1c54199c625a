package config

import (
	"log/slog"
	"strings"
	"time"
)

// variable is a row of the table: a Variable and how it is read.
type variable struct {
	Variable
	region      string // whose variable it is; "" for those of no region
	list        bool   // a file may have a list of its items
	credentials bool
	set         func(c *Config, text string) error // leaves c alone where it fails
}

// row makes a variable whose value goes into one field.
func row[T any](name, value string, k kind[T], field func(*Config) *T, help string) variable {
	return variable{
		Variable:    Variable{Name: name, Key: fileKey(name), Default: value, Allowed: k.allowed, Secret: k.secret, Help: help},
		list:        k.list,
		credentials: k.credentials,
		set: func(c *Config, text string) error {
			parsed, err := k.parse(text)
			if err == nil {
				*field(c) = parsed
			}
			return err
		},
	}
}

// The names of variables that a rule over several of them mentions.
const (
	fileVariable     = "CONFIG"
	listenVariable   = "LISTEN_ADDRESS"
	dataVariable     = "DATA_DIR"
	databaseVariable = "DATABASE_URL"
	bucketVariable   = "BUCKET" // and the end of a region's own
	activeVariable   = "ACTIVE_REGION"
	staleVariable    = "STALE_READS"
	objectVariable   = "MAX_OBJECT_BYTES"
	adminVariable    = "ADMIN_TOKEN"
	tokensVariable   = "API_TOKENS"
	certVariable     = "TLS_CERT"
	keyVariable      = "TLS_KEY"

	gatewayKeyVariable    = "GATEWAY_ACCESS_KEY"
	gatewaySecretVariable = "GATEWAY_SECRET_KEY"
)

// minAccessKeyLength is the least that an access key has: it is a name, and no secret.
const minAccessKeyLength = 3

const (
	defaultDataDir = "data"
	databaseFile   = "multi_region_store.db" // in DATA_DIR, where DATABASE_URL is not set
)

// defaultRegionNames returns the regions that there are where a file names no others, in
// their order. A name brings its variables with it; nothing else knows how many there are.
func defaultRegionNames() []string { return []string{"primary", "secondary"} }

// variables returns the table for these regions, in the order of the documentation.
func variables(regions []string) []variable {
	all := serverVariables()
	for i, name := range regions {
		for _, v := range regionVariables(i, name) {
			v.region, v.Key = name, regionKey(name)+camelCase(strings.TrimPrefix(v.Name, regionPrefix(name)))
			all = append(all, v)
		}
	}
	all = append(all, controlVariables(regions)...)
	return append(all, limitVariables()...)
}

// fileRow is the variable that names the file, and cannot stand in it.
func fileRow() variable {
	v := row(fileVariable, "", filePath(), func(c *Config) *string { return &c.File },
		"The YAML file that holds any of these settings, and regions of any names and number (deploy/tandem.example.yaml). What is set in the environment wins over it.")
	v.Key = ""
	return v
}

func serverVariables() []variable {
	return []variable{
		fileRow(),
		row(listenVariable, "127.0.0.1", listenAddress(), func(c *Config) *string { return &c.ListenAddress },
			"The address to listen on. Anything that other machines can reach needs ADMIN_TOKEN."),
		row("PORT", "8110", wholeNumber(0, 65535), func(c *Config) *int { return &c.Port },
			"The port to listen on; 0 takes any free one."),
		row("S3_PORT", "8111", wholeNumber(0, 65535), func(c *Config) *int { return &c.S3Port },
			"The port of the S3 API; 0 takes any free one."),
		row("S3_DOMAIN", "", hostName(), func(c *Config) *string { return &c.S3Domain },
			"The host name of the S3 API, for clients that put the bucket into it: with s3.example.org, bucket.s3.example.org. Buckets in the path are served in any case."),
		row(gatewayKeyVariable, "", secret(minAccessKeyLength), func(c *Config) *string { return &c.GatewayAccessKey },
			"The access key of S3 clients. Without it one is made at the first start, in DATA_DIR/s3-credentials."),
		row(gatewaySecretVariable, "", secret(minTokenLength), func(c *Config) *string { return &c.GatewaySecretKey },
			"The secret key that belongs to "+gatewayKeyVariable+"."),
		row("MASTER_KEY", "", masterKey(), func(c *Config) *[]byte { return &c.MasterKey },
			"The key under which the secrets of access keys are sealed in the journal. Without it one is made at the first start, in DATA_DIR/master.key. Back it up, apart from the journal."),
		row(certVariable, "", pemFile("the certificate, and those between it and a root"), func(c *Config) *string { return &c.TLSCert },
			"The certificate with which the gateway serves HTTPS; read again when it changes. Without it and TLS_KEY, HTTP."),
		row(keyVariable, "", pemFile("the private key of the certificate in "+certVariable), func(c *Config) *string { return &c.TLSKey },
			"The certificate's private key."),
		row(dataVariable, defaultDataDir, folder(), func(c *Config) *string { return &c.DataDir },
			"The folder of the index and of the embedded regions; made at start."),
		row(databaseVariable, defaultDataDir+"/"+databaseFile, database(), func(c *Config) *string { return &c.DatabasePath },
			"The SQLite file of the journal and index. By default "+databaseFile+" in DATA_DIR."),
		row(bucketVariable, "tandem", bucket(), func(c *Config) *string { return &c.Bucket },
			"The bucket name that clients see; it stands for the bucket of each region. Several buckets take a file, with `buckets` in place of this and of every region's BUCKET."),
		row(adminVariable, "", secret(minTokenLength), func(c *Config) *string { return &c.AdminToken },
			"The bearer token that opens everything, the admin API included."),
		row(tokensVariable, "", tokens(), func(c *Config) *[]Token { return &c.APITokens },
			"Named bearer tokens that open objects and replication states, and nothing else."),
	}
}

// regionVariables returns the variables of the region at index i of Config.Regions.
func regionVariables(i int, region string) []variable {
	text := func(suffix, value string, k kind[string], field func(*Region) *string, help string) variable {
		return row(regionPrefix(region)+suffix, value, k, func(c *Config) *string { return field(&c.Regions[i]) }, help)
	}
	return []variable{
		text("ENDPOINT", "", endpoint(), func(r *Region) *string { return &r.Endpoint },
			"Where the "+region+" region is. Not set, or "+awsEndpoint+": the AWS region that "+regionPrefix(region)+
				"REGION names. A region with none of its variables set does not exist; with none of any region set, all are embedded, in DATA_DIR/regions."),
		text("PUBLIC_ENDPOINT", "", publicEndpoint(), func(r *Region) *string { return &r.PublicEndpoint },
			"The endpoint that presigned URLs name, for clients that cannot reach "+regionPrefix(region)+"ENDPOINT."),
		text("REGION", "", plainName(), func(r *Region) *string { return &r.S3Region },
			"The name that requests are signed for. With an endpoint other than AWS's it may be left out, and is "+defaultS3Region+"."),
		text("ACCESS_KEY", "", secret(1), func(r *Region) *string { return &r.AccessKey },
			"The access key. Without keys the AWS SDK's default credential chain applies: profile, IAM role, web identity."),
		text("SECRET_KEY", "", secret(1), func(r *Region) *string { return &r.SecretKey },
			"The secret key that belongs to the access key."),
		text(bucketVariable, "gnew-"+region, bucket(), func(r *Region) *string { return &r.Bucket },
			"The bucket in this region. It has to exist, except in an embedded region, where it is made."),
		row(regionPrefix(region)+"FORCE_PATH_STYLE", "0", flag(), func(c *Config) *bool { return &c.Regions[i].ForcePathStyle },
			"Put the bucket in the path instead of the host name, as MinIO wants it. Done in any case where the host is an IP address or localhost."),
		text("CA_FILE", "", pemFile("certificates"), func(r *Region) *string { return &r.CAFile },
			"Authorities to trust beside the system's, for an endpoint whose certificate is from one of your own."),
	}
}

// namesBucket reports whether the variable names the one bucket that there is without a list of
// them: to clients, or in a region.
func (v variable) namesBucket() bool {
	return v.Name == bucketVariable || v.region != "" && v.Name == regionPrefix(v.region)+bucketVariable
}

// staleReads accepts a rule for stale reads.
func staleReads() kind[StaleReads] {
	return choice(option[StaleReads]{"refuse", StaleReadsRefuse}, option[StaleReads]{"serve", StaleReadsServe})
}

// objectSize accepts the size of the largest object.
func objectSize() kind[int64] { return size(1, 5*tib) }

// regionPrefix begins the names of a region's variables.
func regionPrefix(region string) string {
	return strings.ToUpper(strings.ReplaceAll(region, "-", "_")) + "_S3_"
}

// regionKey begins the keys of a region's settings.
func regionKey(region string) string { return regionsKey + "." + region + "." }

func controlVariables(regions []string) []variable {
	first := ""
	var active []option[string]
	for i, name := range regions {
		if active = append(active, option[string]{name, name}); i == 0 {
			first = name
		}
	}
	return []variable{
		row(activeVariable, first, choice(active...), func(c *Config) *string { return &c.ActiveRegion },
			"The region that takes writes when the gateway starts for the first time. Later the journal knows."),
		row("FAILOVER_MODE", "auto", choice(option[FailoverMode]{"auto", FailoverAuto}, option[FailoverMode]{"manual", FailoverManual}),
			func(c *Config) *FailoverMode { return &c.FailoverMode },
			"Who promotes a replica when the active region fails: the gateway, or an operator."),
		row("FAILOVER_HOLD_DOWN", "5m", duration(0, 24*time.Hour), func(c *Config) *time.Duration { return &c.FailoverHoldDown },
			"How long after a promotion the gateway makes no other by itself. An operator may."),
		row("HEALTH_INTERVAL", "15s", duration(10*time.Millisecond, time.Hour), func(c *Config) *time.Duration { return &c.HealthInterval },
			"How often each region is probed. Requests that fail bring a probe forward, to a tenth of this at most."),
		row("HEALTH_TIMEOUT", "5s", duration(10*time.Millisecond, 10*time.Minute), func(c *Config) *time.Duration { return &c.HealthTimeout },
			"How long a probe may take."),
		row("HEALTH_FAILURES", "3", wholeNumber(1, 100), func(c *Config) *int { return &c.HealthFailures },
			"Failed probes in a row that make a region down."),
		row("HEALTH_RECOVERIES", "3", wholeNumber(1, 100), func(c *Config) *int { return &c.HealthRecoveries },
			"Probes in a row that have to succeed before it is up again."),
		row("MARK_INTERVAL", "1m", duration(50*time.Millisecond, time.Hour), func(c *Config) *time.Duration { return &c.MarkInterval },
			"How often each region's mark, by which one that comes back older is recognised, is rewritten, and the head of the audit chain signed."),
		row("PRESIGN_EXPIRES", "900", seconds(1, 7*24*60*60), func(c *Config) *time.Duration { return &c.PresignExpires },
			"How long a presigned URL is good for where the request does not say."),
		row("PRESIGN_GRACE", "1h", duration(time.Second, 24*time.Hour), func(c *Config) *time.Duration { return &c.PresignGrace },
			"How long an upload by a presigned URL may go on after that has expired. The key is watched until then."),
		row(staleVariable, "refuse", staleReads(), func(c *Config) *StaleReads { return &c.StaleReads },
			"What to do when only an older version of an object can be had: answer 503, or serve it with a header that says so."),
		row("LOG_LEVEL", "info", choice(option[slog.Level]{"debug", slog.LevelDebug}, option[slog.Level]{"info", slog.LevelInfo},
			option[slog.Level]{"warn", slog.LevelWarn}, option[slog.Level]{"error", slog.LevelError}),
			func(c *Config) *slog.Level { return &c.LogLevel },
			"The least level that is logged. Object keys are logged at debug only."),
		row("LOG_FORMAT", "auto", choice(option[LogFormat]{"auto", LogAuto}, option[LogFormat]{"text", LogText}, option[LogFormat]{"json", LogJSON}),
			func(c *Config) *LogFormat { return &c.LogFormat },
			"The form of log lines; auto is text on a terminal and JSON otherwise."),
	}
}

func limitVariables() []variable {
	return []variable{
		row(objectVariable, "5TiB", objectSize(), func(c *Config) *int64 { return &c.MaxObjectBytes },
			"The largest object that is accepted."),
		row("MAX_JSON_BYTES", "16MiB", size(kib, gib), func(c *Config) *int64 { return &c.MaxJSONBytes },
			"The largest JSON body that is accepted. Such a body is held in memory."),
		row("DRAIN_TIMEOUT", "30s", duration(0, time.Hour), func(c *Config) *time.Duration { return &c.DrainTimeout },
			"How long running requests may go on after SIGTERM."),
		row("REGION_TIMEOUT", "30s", duration(10*time.Millisecond, time.Hour), func(c *Config) *time.Duration { return &c.RegionTimeout },
			"How long a region may make no progress on a request before it is given up."),
		row("DOUBT_WINDOW", "16m", duration(10*time.Millisecond, 24*time.Hour), func(c *Config) *time.Duration { return &c.DoubtWindow },
			"How long after its deadline a write without an answer may still reach a region: the 15 minutes for which S3 takes a signature, and a margin. Shorter is for tests only."),
		row("MIN_FREE_BYTES", "256MiB", size(0, 1024*tib), func(c *Config) *int64 { return &c.MinFreeBytes },
			"With less free disk space than this for DATA_DIR or the journal, writes get 503; 0 switches the check off."),
		row("REPLICATION_WORKERS", "8", wholeNumber(1, 256), func(c *Config) *int { return &c.ReplicationWorkers },
			"Copies that run at once for each region."),
	}
}
