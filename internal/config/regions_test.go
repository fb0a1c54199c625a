package config_test

import (
	"testing"

	"github.com/gnew/tandem/internal/config"
)

var regionTests = []struct {
	name string
	env  env
	want []config.Region
}{
	{
		name: "the brief's example",
		env: env{
			"PRIMARY_S3_ENDPOINT": "https://s3.amazonaws.com", "PRIMARY_S3_REGION": "eu-west-1",
			"PRIMARY_S3_BUCKET": "gnew-primary", "PRIMARY_S3_FORCE_PATH_STYLE": "0",
			"SECONDARY_S3_ENDPOINT": "https://s3.us-east-1.amazonaws.com", "SECONDARY_S3_REGION": "us-east-1",
			"SECONDARY_S3_BUCKET": "gnew-secondary", "SECONDARY_S3_FORCE_PATH_STYLE": "0",
		},
		want: []config.Region{
			{Name: "primary", S3Region: "eu-west-1", Bucket: "gnew-primary"},
			{Name: "secondary", Endpoint: "https://s3.us-east-1.amazonaws.com", S3Region: "us-east-1", Bucket: "gnew-secondary"},
		},
	},
	{
		name: "primary alone is one region",
		env:  env{"PRIMARY_S3_REGION": "eu-west-1"},
		want: []config.Region{{Name: "primary", S3Region: "eu-west-1", Bucket: "gnew-primary"}},
	},
	{
		name: "empty variables do not configure a region",
		env:  env{"PRIMARY_S3_REGION": "eu-west-1", "SECONDARY_S3_ENDPOINT": "", "SECONDARY_S3_BUCKET": " "},
		want: []config.Region{{Name: "primary", S3Region: "eu-west-1", Bucket: "gnew-primary"}},
	},
	{
		name: "AWS's endpoint with a slash",
		env:  env{"PRIMARY_S3_ENDPOINT": "https://S3.amazonaws.com/", "PRIMARY_S3_REGION": "eu-west-1"},
		want: []config.Region{{Name: "primary", S3Region: "eu-west-1", Bucket: "gnew-primary"}},
	},
	{
		name: "an endpoint of another make is in us-east-1",
		env:  env{"PRIMARY_S3_ENDPOINT": "https://minio.example"},
		want: []config.Region{{Name: "primary", Endpoint: "https://minio.example", S3Region: "us-east-1", Bucket: "gnew-primary"}},
	},
	{
		name: "an AWS endpoint that names its region is in that one",
		env: env{"PRIMARY_S3_ENDPOINT": "https://s3.eu-west-1.amazonaws.com",
			"SECONDARY_S3_ENDPOINT": "https://s3.cn-north-1.amazonaws.com.cn"},
		want: []config.Region{
			{Name: "primary", Endpoint: "https://s3.eu-west-1.amazonaws.com", S3Region: "eu-west-1", Bucket: "gnew-primary"},
			{Name: "secondary", Endpoint: "https://s3.cn-north-1.amazonaws.com.cn", S3Region: "cn-north-1", Bucket: "gnew-secondary"},
		},
	},
	{
		name: "path style at an IP address and at localhost whatever is set",
		env: env{"PRIMARY_S3_ENDPOINT": "http://127.0.0.1:9000", "PRIMARY_S3_FORCE_PATH_STYLE": "false",
			"SECONDARY_S3_ENDPOINT": "http://localhost:9001"},
		want: []config.Region{
			{Name: "primary", Endpoint: "http://127.0.0.1:9000", S3Region: "us-east-1", Bucket: "gnew-primary", ForcePathStyle: true},
			{Name: "secondary", Endpoint: "http://localhost:9001", S3Region: "us-east-1", Bucket: "gnew-secondary", ForcePathStyle: true},
		},
	},
	{
		name: "path style at an IPv6 address",
		env:  env{"PRIMARY_S3_ENDPOINT": "http://[2001:DB8::7]:9000"},
		want: []config.Region{{Name: "primary", Endpoint: "http://[2001:db8::7]:9000", S3Region: "us-east-1", Bucket: "gnew-primary", ForcePathStyle: true}},
	},
	{
		name: "path style at an IPv6 address of one link",
		env:  env{"PRIMARY_S3_ENDPOINT": "http://[fe80::1%25eth0]:9000"},
		want: []config.Region{{Name: "primary", Endpoint: "http://[fe80::1%25eth0]:9000", S3Region: "us-east-1", Bucket: "gnew-primary", ForcePathStyle: true}},
	},
	{
		name: "a folder is an embedded region",
		env: env{"PRIMARY_S3_ENDPOINT": "file:///srv/my%20objects/a/", "PRIMARY_S3_REGION": "eu-west-1", "PRIMARY_S3_BUCKET": "mine",
			"SECONDARY_S3_REGION": "eu-west-2"},
		want: []config.Region{
			{Name: "primary", EmbeddedDir: "/srv/my objects/a", S3Region: "eu-west-1", Bucket: "mine", ForcePathStyle: true},
			{Name: "secondary", S3Region: "eu-west-2", Bucket: "gnew-secondary"},
		},
	},
	{
		name: "one bucket name at different endpoints",
		env: env{"PRIMARY_S3_ENDPOINT": "http://127.0.0.1:9000", "PRIMARY_S3_BUCKET": "same",
			"SECONDARY_S3_ENDPOINT": "http://127.0.0.1:9001", "SECONDARY_S3_BUCKET": "same"},
		want: []config.Region{
			{Name: "primary", Endpoint: "http://127.0.0.1:9000", S3Region: "us-east-1", Bucket: "same", ForcePathStyle: true},
			{Name: "secondary", Endpoint: "http://127.0.0.1:9001", S3Region: "us-east-1", Bucket: "same", ForcePathStyle: true},
		},
	},
	{
		name: "one bucket name in AWS and in AWS China",
		env: env{"PRIMARY_S3_REGION": "eu-west-1", "PRIMARY_S3_BUCKET": "same",
			"SECONDARY_S3_REGION": "cn-north-1", "SECONDARY_S3_BUCKET": "same"},
		want: []config.Region{
			{Name: "primary", S3Region: "eu-west-1", Bucket: "same"},
			{Name: "secondary", S3Region: "cn-north-1", Bucket: "same"},
		},
	},
	{
		name: "neighbouring folders with a common beginning",
		env:  env{"PRIMARY_S3_ENDPOINT": "file:///srv/a", "SECONDARY_S3_ENDPOINT": "file:///srv/ab"},
		want: []config.Region{
			{Name: "primary", EmbeddedDir: "/srv/a", S3Region: "us-east-1", Bucket: "gnew-primary", ForcePathStyle: true},
			{Name: "secondary", EmbeddedDir: "/srv/ab", S3Region: "us-east-1", Bucket: "gnew-secondary", ForcePathStyle: true},
		},
	},
}

func TestRegionsAreThoseThatAreConfigured(t *testing.T) {
	for _, tt := range regionTests {
		t.Run(tt.name, func(t *testing.T) {
			got := load(t, tt.env).Regions
			if d := diff(tt.want, got); d != "" {
				t.Errorf("regions (-want +got):\n%s", d)
			}
			for _, r := range got {
				if r.Embedded() != (r.EmbeddedDir != "") {
					t.Errorf("%s: got embedded %v in folder %q", r.Name, r.Embedded(), r.EmbeddedDir)
				}
			}
		})
	}
}

func TestEmbeddedRegionsFollowTheDataFolder(t *testing.T) {
	for _, r := range load(t, env{"DATA_DIR": "/srv/tandem"}).Regions {
		if want := "/srv/tandem/regions/" + r.Name; r.EmbeddedDir != want {
			t.Errorf("got %s in %s, want it in %s", r.Name, r.EmbeddedDir, want)
		}
	}
}
