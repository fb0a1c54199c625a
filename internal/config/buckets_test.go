package config_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/config"
)

// servers are two regions at endpoints of their own.
const servers = `
regions:
  - {name: primary, endpoint: "https://one.example"}
  - {name: secondary, endpoint: "https://two.example"}
`

const twoBuckets = servers + `
buckets:
  - name: photos
    regions:
      secondary: photos-us
      primary: photos-eu
    staleReads: serve
    maxObjectBytes: 1GiB
  - name: logs
    regions: {primary: logs-eu}
`

func TestOneBucketIsInEveryRegionUnderTheRegionsOwnName(t *testing.T) {
	for _, tt := range []struct {
		env  env
		want []config.BucketRegion
	}{
		{env{}, []config.BucketRegion{{Region: "primary", Bucket: "gnew-primary"}, {Region: "secondary", Bucket: "gnew-secondary"}}},
		{aws, []config.BucketRegion{{Region: "primary", Bucket: "gnew-primary"}}},
		{inFile(t, threeRegions, env{"US_S3_BUCKET": "ours-us"}), []config.BucketRegion{
			{Region: "eu-west", Bucket: "ours-eu"}, {Region: "us", Bucket: "ours-us"}, {Region: "store", Bucket: "gnew-store"},
		}},
	} {
		got := load(t, tt.env.with(env{"BUCKET": "files", "STALE_READS": "serve", "MAX_OBJECT_BYTES": "7"})).Buckets
		want := []config.Bucket{{Name: "files", Regions: tt.want, StaleReads: config.StaleReadsServe, MaxObjectBytes: 7}}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%v (-want +got):\n%s", tt.env, d)
		}
	}
}

func TestAFileListsBucketsEachInRegionsOfItsOwn(t *testing.T) {
	got := load(t, inFile(t, twoBuckets, env{"MAX_OBJECT_BYTES": "2GiB"}))
	want := []config.Bucket{
		{
			Name:       "photos",
			Regions:    []config.BucketRegion{{Region: "primary", Bucket: "photos-eu"}, {Region: "secondary", Bucket: "photos-us"}},
			StaleReads: config.StaleReadsServe, MaxObjectBytes: 1 << 30,
		},
		{
			Name:       "logs",
			Regions:    []config.BucketRegion{{Region: "primary", Bucket: "logs-eu"}},
			StaleReads: config.StaleReadsRefuse, MaxObjectBytes: 2 << 30,
		},
	}
	if d := cmp.Diff(want, got.Buckets); d != "" {
		t.Errorf("buckets (-want +got):\n%s", d)
	}
	for region, want := range map[string][]string{"primary": {"photos-eu", "logs-eu"}, "secondary": {"photos-us"}, "mars": nil} {
		if d := cmp.Diff(want, got.BucketsIn(region)); d != "" {
			t.Errorf("buckets in %s (-want +got):\n%s", region, d)
		}
	}
	for _, s := range got.Settings() {
		if strings.HasSuffix(s.Name, "BUCKET") {
			t.Errorf("%s=%s is shown, and is not in force", s.Name, s.Value)
		}
	}
}

// Regions of other kinds, and other places, may have buckets of one name.
func TestBucketsOfOneNameThatAreNotTheSame(t *testing.T) {
	for name, text := range map[string]string{
		"two endpoints": servers + "buckets: [{name: one, regions: {primary: same, secondary: same}}]",
		"two folders":   "buckets: [{name: one, regions: {primary: same, secondary: same}}]",
		"crosswise":     servers + "buckets: [{name: one, regions: {primary: aaa, secondary: bbb}}, {name: two, regions: {primary: bbb, secondary: aaa}}]",
		"AWS and China": "regions: [{name: a, region: eu-west-1}, {name: b, region: cn-north-1}]\nbuckets: [{name: one, regions: {a: same, b: same}}]",
		"a folder":      "regions: [{name: a, region: eu-west-1}, {name: b, endpoint: 'file:///srv/b'}]\nbuckets: [{name: one, regions: {a: same, b: same}}]",
	} {
		if got := load(t, inFile(t, text, nil)).Buckets; len(got[0].Regions) != 2 {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

// A list of buckets leaves the regions as they are: none of it says where one is.
func TestBucketsConfigureNoRegion(t *testing.T) {
	c := load(t, inFile(t, "buckets: [{name: one, regions: {primary: one-eu}}]", aws))
	if len(c.Regions) != 1 || c.Regions[0].Embedded() {
		t.Errorf("got regions %v, want the one of the environment", c.Regions)
	}
	c = load(t, inFile(t, "buckets: [{name: one, regions: {primary: one-eu, secondary: one-us}}]", nil))
	if len(c.Regions) != 2 || !c.Regions[0].Embedded() || !c.Regions[1].Embedded() {
		t.Errorf("got regions %v, want two embedded ones", c.Regions)
	}
}

func TestEachMistakeOfBucketsIsTold(t *testing.T) {
	const both = "regions: {primary: one-eu, secondary: one-us}"
	for _, tt := range []struct {
		text string
		env  env
		says string
	}{
		{"buckets: []", nil, "tandem.yaml:5: buckets is not a list, or has nothing in it"},
		{"buckets: photos", nil, "buckets is not a list, or has nothing in it"},
		{"buckets: {photos: {}}", nil, "buckets is not a list"},
		{"buckets: &a []", nil, "buckets has an anchor or an alias"},
		{"buckets: [photos]", nil, "tandem.yaml:5: buckets[0] is not a bucket; allowed: a list of buckets"},
		{"buckets: [{" + both + "}]", nil, "buckets[0].name is not set; allowed: 3 to 63 lower-case letters"},
		{"buckets: [{name: Photos, " + both + "}]", nil, "buckets[0].name is not a bucket name"},
		{"buckets: [{name: [x], " + both + "}]", nil, "buckets[0].name is not text"},
		{"buckets: [{name: one, " + both + "},\n {name: one, regions: {primary: two-eu}}]", nil, "tandem.yaml:6: buckets[1].name is the name of the bucket at line 5; allowed: a name of its own for each bucket"},
		{"buckets: [{name: one, " + both + ", zone: b}]", nil, "buckets.one.zone is not a setting; allowed: name, regions, staleReads, maxObjectBytes"},
		{"buckets: [{name: one, " + both + ", name: two}]", nil, "buckets.one.name is repeated"},
		{"buckets: [{name: one, " + both + "},\n {name: two, regions: {primary: two-eu, mars: two-us}}]", nil, "tandem.yaml:6: buckets.two.regions.mars is not a region that is configured; allowed: primary, secondary"},
		{"buckets: [{name: one, regions: {primary: a-b, primary: b-c, secondary: c-d}}]", nil, "buckets.one.regions.primary is repeated"},
		{"buckets: [{name: one, regions: {primary: one-eu, secondary: }}]", nil, "buckets.one.regions.secondary has no name of a bucket; allowed: 3 to 63"},
		{"buckets: [{name: one, regions: {primary: one-eu, secondary: ' '}}]", nil, "buckets.one.regions.secondary has no name of a bucket"},
		{"buckets: [{name: one, regions: {primary: one-eu, secondary: One}}]", nil, `buckets.one.regions.secondary="One" is not a bucket name`},
		{"buckets: [{name: one, regions: {primary: one-eu, secondary: [a]}}]", nil, "buckets.one.regions.secondary is a list or a block, not a value"},
		{"buckets: [{name: one, " + both + "},\n {name: two}]", nil, "tandem.yaml:6: buckets.two.regions is not set, or has no region in it; allowed: one line or more REGION: BUCKET, with the regions primary, secondary"},
		{"buckets: [{name: one, regions: {}}]", nil, "buckets.one.regions is not set, or has no region in it"},
		{"buckets: [{name: one, regions: [primary]}]", nil, "buckets.one.regions is not a block of settings"},
		{"buckets: [{name: one, " + both + ", staleReads: yes}]", nil, `buckets.one.staleReads="yes" is not one of the choices; allowed: refuse, serve`},
		{"buckets: [{name: one, " + both + ", maxObjectBytes: 6TiB}]", nil, `buckets.one.maxObjectBytes="6TiB" is out of range; allowed: 1 to 5TiB`},
		{"buckets: [{name: one, " + both + "},\n {name: two, regions: {primary: one-eu}}]", nil, `tandem.yaml:6: buckets.two.regions.primary="one-eu" names the bucket of line 5, which is in the same region`},
		{"buckets: [{name: one, regions: {primary: same,\n  secondary: same}}]", env{"SECONDARY_S3_ENDPOINT": "https://ONE.example:443/"}, `tandem.yaml:6: buckets.one.regions.secondary="same" names the bucket of line 5, which region primary has at the same endpoint`},
		{"buckets: [{name: one, " + both + "},\n {name: two, regions: {secondary: two-us}}]", nil, "tandem.yaml:6: buckets.two.regions lacks primary, the region that ACTIVE_REGION says is active, for all buckets"},
		{"activeRegion: secondary\nbuckets: [{name: one, " + both + "}, {name: two, regions: {primary: two-us}}]", nil, "tandem.yaml:6: buckets.two.regions lacks secondary, the region that activeRegion says is active"},
		{"buckets: [{name: one, regions: {primary: one-eu}}]", nil, "tandem.yaml:5: buckets has no bucket in the region secondary"},
		{"bucket: files\nbuckets: [{name: one, " + both + "}]", nil, `tandem.yaml:5: bucket="files" is set, and so is buckets (tandem.yaml:6), which says what there is in which region; allowed: one of the two`},
		{"buckets: [{name: one, " + both + "}]", env{"BUCKET": "Files"}, `BUCKET="Files" is set, and so is buckets (tandem.yaml:5)`},
		{"buckets: [{name: one, " + both + "}]", env{"SECONDARY_S3_BUCKET": "files"}, `SECONDARY_S3_BUCKET="files" is set, and so is buckets`},
	} {
		e := inFile(t, servers+tt.text+"\n", tt.env)
		got := strings.ReplaceAll(loadMistakes(t, e).Error(), filepath.Dir(e["CONFIG"])+"/", "")
		if !strings.Contains(got, tt.says) || strings.Count(got, "\n") != 1 {
			t.Errorf("%q %v: got\n%s\nwant one mistake, with %q in it", tt.text, tt.env, got, tt.says)
		}
	}
}

// Where the environment alone says what regions there are, a bucket of it is a mistake all the same, and
// makes no region.
func TestABucketOfTheEnvironmentBesideAListMakesNoRegion(t *testing.T) {
	const list = "buckets: [{name: one, regions: {primary: one-eu}}]"
	for name, e := range map[string]env{
		"SECONDARY_S3_BUCKET": aws.with(env{"SECONDARY_S3_BUCKET": "files"}),
		"PRIMARY_S3_BUCKET":   aws.with(env{"PRIMARY_S3_BUCKET": "files"}),
	} {
		got := loadMistakes(t, inFile(t, list, e))
		if len(got.All) != 1 || got.All[0].Variable != name {
			t.Errorf("%s: got\n%v\nwant one mistake, of that variable", name, got)
		}
	}
}

func TestAllMistakesOfBucketsComeAtOnceWithTheirLines(t *testing.T) {
	path := write(t, `regions:
  - {name: eu, endpoint: "https://one.example", bucket: own}
  - {name: us, endpoint: "https://two.example"}
bucket: files
activeRegion: us
staleReads: never
buckets:
  - name: photos
    regions:
      eu: photos-eu
    staleReads: maybe
  - regions: {us: photos-us, mars: x, eu: photos-eu}
  - name: photos
    maxObjectBytes: 1GB
  - logs
`)
	got := strings.ReplaceAll(loadMistakes(t, env{"CONFIG": path, "US_S3_BUCKET": "x"}).Error(), path, "tandem.yaml")
	var lines []string
	for line := range strings.Lines(got) {
		before, _, _ := strings.Cut(strings.TrimSpace(line), "; allowed")
		lines = append(lines, before)
	}
	const isSet = "is set, and so is buckets (tandem.yaml:8), which says what there is in which region"
	if d := cmp.Diff([]string{
		"the configuration has 13 mistakes:",
		"tandem.yaml:8: buckets.photos.regions lacks us, the region that activeRegion says is active, for all buckets",
		`tandem.yaml:11: buckets.photos.staleReads="maybe" is not one of the choices`,
		"tandem.yaml:12: buckets[1].name is not set",
		"tandem.yaml:12: buckets[1].regions.mars is not a region that is configured",
		`tandem.yaml:12: buckets[1].regions.eu="photos-eu" names the bucket of line 10, which is in the same region`,
		"tandem.yaml:13: buckets[2].name is the name of the bucket at line 8",
		"tandem.yaml:13: buckets[2].regions is not set, or has no region in it",
		`tandem.yaml:14: buckets[2].maxObjectBytes="1GB" is not a size`,
		"tandem.yaml:15: buckets[3] is not a bucket",
		`tandem.yaml:4: bucket="files" ` + isSet,
		`tandem.yaml:2: regions.eu.bucket="own" ` + isSet,
		`US_S3_BUCKET="x" ` + isSet,
		`tandem.yaml:6: staleReads="never" is not one of the choices`,
	}, lines); d != "" {
		t.Errorf("mistakes (-want +got):\n%s", d)
	}
}

// A mistake in the names of regions brings no second one of the buckets that name them.
func TestAMistakeOfRegionsIsToldOnce(t *testing.T) {
	for _, text := range []string{
		"regions: [{name: EU}, {name: us}]\nbuckets: [{name: one, regions: {EU: one-eu, us: one-us}}]",
		"regions: eu\nbuckets: [{name: one, regions: {eu: one-eu}}]",
		servers + "activeRegion: mars\nbuckets: [{name: one, regions: {primary: one-eu, secondary: one-us}}]",
	} {
		if got := loadMistakes(t, inFile(t, text, nil)); len(got.All) != 1 {
			t.Errorf("%q: got\n%v\nwant one mistake", text, got)
		}
	}
}
