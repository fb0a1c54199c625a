package e2e_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gnew/tandem/internal/region"
)

// s3User is a client of the S3 API: a program, run in a folder of its own.
type s3User struct {
	t   *testing.T
	g   *gateway
	dir string
	env []string
}

const (
	s3AccessKey = "AKIATESTOFTANDEM"
	s3SecretKey = "the-secret-of-the-tests"
)

// newS3User needs the Debian package of a program.
func newS3User(t *testing.T, g *gateway, program, debianPackage string) *s3User {
	t.Helper()
	if _, err := os.Stat(program); err != nil {
		reason := "no " + program + ": install Debian's package " + debianPackage + ", as make test does"
		if os.Getenv("TANDEM_TEST_ALL") == "1" {
			t.Fatal(reason)
		}
		t.Skip(reason)
	}
	dir := t.TempDir()
	return &s3User{t: t, g: g, dir: dir, env: []string{
		"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + dir, "LC_ALL=C.UTF-8", "AWS_EC2_METADATA_DISABLED=true", "AWS_DEFAULT_REGION=eu-central-1",
		"AWS_ACCESS_KEY_ID=" + s3AccessKey, "AWS_SECRET_ACCESS_KEY=" + s3SecretKey, "ENDPOINT=" + g.s3, "HOST=" + strings.TrimPrefix(g.s3, "http://"),
	}}
}

// run runs a shell script, which ends at its first failure, and returns what it printed.
func (u *s3User) run(script string) string {
	u.t.Helper()
	out, err := u.try(script)
	if err != nil {
		u.t.Fatalf("%s: %v: %s", script, err, out)
	}
	return out
}

func (u *s3User) try(script string) (string, error) {
	cmd := exec.CommandContext(u.t.Context(), "/bin/bash", "-euo", "pipefail", "-c", script)
	cmd.Dir, cmd.Env = u.dir, u.env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// file makes a file of random bytes in the client's folder.
func (u *s3User) file(name string, size int) []byte {
	u.t.Helper()
	data := make([]byte, size)
	_, _ = rand.Read(data)
	if err := os.MkdirAll(filepath.Join(u.dir, filepath.Dir(name)), 0o755); err != nil {
		u.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(u.dir, name), data, 0o644); err != nil {
		u.t.Fatal(err)
	}
	return data
}

func (u *s3User) want(what, got, want string) {
	u.t.Helper()
	if strings.TrimSpace(got) != strings.TrimSpace(want) {
		u.t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// tree makes files of many sizes, one that is sent in parts among them.
func (u *s3User) tree() {
	for i, size := range []int{0, 1, 1000, 64 << 10, 1 << 20, 17 << 20} {
		u.file(fmt.Sprintf("tree/dir %d/é+%d", i%2, i), size)
	}
}

func startForS3(t *testing.T, env ...string) *gateway {
	t.Helper()
	return start(t, slices.Concat([]string{"GATEWAY_ACCESS_KEY=" + s3AccessKey, "GATEWAY_SECRET_KEY=" + s3SecretKey, "REGION_TIMEOUT=30s"}, env)...)
}

// Every client works as it is, with the endpoint and an access key: what it wrote it reads, and every
// region has it.
func TestS3ClientsWorkUnchanged(t *testing.T) {
	needs(t, regions.uploads && regions.tags, "uploads in parts, and tags")
	t.Parallel()
	g := startForS3(t)
	t.Run("awscli", func(t *testing.T) {
		u := newS3User(t, g, "/usr/bin/aws", "awscli")
		u.tree()
		u.run(`shopt -s expand_aliases; alias s3='aws --endpoint-url $ENDPOINT s3' api='aws --endpoint-url $ENDPOINT s3api'
			s3 sync --quiet tree s3://tandem/aws && s3 sync --quiet s3://tandem/aws back && diff -r tree back
			s3 cp --quiet "s3://tandem/aws/dir 1/é+5" "s3://tandem/aws/copy" && s3 cp --quiet s3://tandem/aws/copy copy && cmp copy "tree/dir 1/é+5"
			api put-object-tagging --bucket tandem --key aws/copy --tagging 'TagSet=[{Key=a,Value=b}]'
			api get-object-tagging --bucket tandem --key aws/copy | grep -q '"Value": "b"'
			api get-object --bucket tandem --key aws/copy --range bytes=10-19 part >range.json && cmp <(tail -c +11 copy | head -c 10) part
			curl -sSf "$(s3 presign s3://tandem/aws/copy)" | cmp - copy
			! api put-object --bucket tandem --key aws/copy --body /dev/null --content-md5 AAAAAAAAAAAAAAAAAAAAAA==
			s3 mb s3://tandem 2>&1 | grep -q BucketAlreadyOwnedByYou || true`)
		u.want("ls", u.run(`aws --endpoint-url $ENDPOINT s3 ls s3://tandem/aws/ --recursive | wc -l`), "7")
		u.run(`aws --endpoint-url $ENDPOINT s3 cp --quiet copy s3://tandem/left/aws
			aws --endpoint-url $ENDPOINT s3 rm --quiet --recursive s3://tandem/aws`)
		u.want("ls of nothing", u.run(`aws --endpoint-url $ENDPOINT s3 ls s3://tandem/aws/ || true`), "")
	})
	t.Run("boto3", func(t *testing.T) {
		u := newS3User(t, g, "/usr/lib/python3/dist-packages/boto3/__init__.py", "python3-boto3")
		u.file("data", 20<<20)
		if err := os.WriteFile(filepath.Join(u.dir, "try.py"), []byte(boto3Script), 0o644); err != nil {
			t.Fatal(err)
		}
		u.want("boto3", u.run("/usr/bin/python3 try.py"), "all is well")
	})
	t.Run("s3cmd", func(t *testing.T) {
		u := newS3User(t, g, "/usr/bin/s3cmd", "s3cmd")
		u.tree()
		u.run(`shopt -s expand_aliases; alias s3='s3cmd -q --host=$HOST --host-bucket=$HOST --no-ssl'
			s3 put --recursive tree s3://tandem/s3cmd/ && mkdir back && s3 get --recursive s3://tandem/s3cmd/tree back/ && diff -r tree back/tree
			s3 cp "s3://tandem/s3cmd/tree/dir 1/é+5" s3://tandem/s3cmd/copy && s3 get s3://tandem/s3cmd/copy copy && cmp copy "tree/dir 1/é+5"
			s3 modify --add-header=x-amz-meta-new:yes s3://tandem/s3cmd/copy
			s3cmd --host=$HOST --host-bucket=$HOST --no-ssl info s3://tandem/s3cmd/copy | grep 'x-amz-meta-new: *yes' > /dev/null
			s3 put copy s3://tandem/left/s3cmd && s3 del --recursive --force s3://tandem/s3cmd/`)
		u.want("ls of nothing", u.run(`s3cmd --host=$HOST --host-bucket=$HOST --no-ssl ls s3://tandem/s3cmd/`), "")
	})
	t.Run("rclone", func(t *testing.T) {
		u := newS3User(t, g, "/usr/bin/rclone", "rclone")
		u.env = append(u.env, "RCLONE_CONFIG_T_TYPE=s3", "RCLONE_CONFIG_T_PROVIDER=Other", "RCLONE_CONFIG_T_ENV_AUTH=true", "RCLONE_CONFIG_T_ENDPOINT="+g.s3)
		u.tree()
		u.run(`rclone -q sync tree t:tandem/rclone && rclone -q check --download tree t:tandem/rclone
			rclone -q move t:tandem/rclone t:tandem/rclone-moved && rclone -q check tree t:tandem/rclone-moved
			rm -r "tree/dir 0" && rclone -q sync tree t:tandem/rclone-moved && rclone -q check tree t:tandem/rclone-moved
			rclone -q copy tree "t:tandem/left/rclone" && rclone -q purge t:tandem/rclone-moved`)
		u.want("ls of nothing", u.run(`rclone -q lsf -R t:tandem/rclone-moved || true`), "")
	})
	t.Run("s3fs", func(t *testing.T) {
		u := newS3User(t, g, "/usr/bin/s3fs", "s3fs")
		u.file("big", 12<<20)
		defer func() { _, _ = u.try("umount mount 2>/dev/null") }()
		u.run(`mkdir mount && echo $AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY > password && chmod 600 password
			unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
			s3fs tandem mount -o passwd_file=password,url=$ENDPOINT,use_path_request_style,sigv4
			cp big mount/s3fs && cmp big mount/s3fs && mv mount/s3fs mount/s3fs.moved && cmp big mount/s3fs.moved
			cp big mount/left-by-s3fs && echo hello > mount/small && test "$(cat mount/small)" = hello && chmod 600 mount/small && rm mount/s3fs.moved mount/small && umount mount`)
	})
	g.checkReplicated(t)
}

// checkReplicated waits until nothing is pending, and compares what both regions hold of the clients' keys.
func (g *gateway) checkReplicated(t *testing.T) {
	t.Helper()
	eventually(t, "nothing is pending", func() bool {
		pending := g.state(t).region(secondary).Pending
		return pending.Keys == 0 && pending.Failing == 0
	})
	a, b := g.region(t, primary), g.region(t, secondary)
	ours, theirs := etagsIn(t, a), etagsIn(t, b)
	if !maps.Equal(ours, theirs) || len(ours) == 0 {
		t.Fatalf("primary holds %v, secondary %v", ours, theirs)
	}
	for key := range ours {
		if !bytes.Equal(bytesOf(t, a, key), bytesOf(t, b, key)) {
			t.Errorf("%s differs", key)
		}
	}
	t.Logf("%d objects are the same in both regions", len(ours))
}

// etagsIn are the ETags of the clients' objects in a region.
func etagsIn(t *testing.T, r *region.Region) map[string]string {
	t.Helper()
	etags := make(map[string]string)
	for after, more := "", true; more; {
		page, err := r.List(t.Context(), region.ListOptions{StartAfter: after})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Objects {
			if after = o.Key; !strings.HasPrefix(o.Key, ".tandem/") {
				etags[o.Key] = o.ETag
			}
		}
		more = page.Truncated
	}
	return etags
}

// A backup whose active dies half-way is made again after the promotion, into the same repository, and every byte of it is there.
func TestResticBackupGoesOnAfterAFailover(t *testing.T) {
	needs(t, regions.uploads, "uploads in parts")
	t.Parallel()
	g := startForS3(t, "FAILOVER_MODE=auto", "HEALTH_INTERVAL=100ms", "HEALTH_TIMEOUT=1s", "FAILOVER_HOLD_DOWN=0s", "MARK_INTERVAL=200ms", "REGION_TIMEOUT=2s", "LOG_LEVEL=info")
	u := newS3User(t, g, "/usr/bin/restic", "restic")
	u.env = append(u.env, "RESTIC_REPOSITORY=s3:"+g.s3+"/tandem/backup", "RESTIC_PASSWORD=restic", "RESTIC_CACHE_DIR="+u.dir+"/cache")
	for i := range 60 {
		u.file(fmt.Sprintf("files/%d", i), 1<<20)
	}
	g.waitCompared(t)
	u.run(`restic -q init && restic -q backup files/1?`)
	backup := make(chan error, 1)
	go func() {
		out, err := u.try(`restic backup files --limit-upload 8192`)
		t.Logf("the backup that was under way: %v: %.2000s", err, out)
		backup <- err
	}()
	eventually(t, "the backup is under way", func() bool { return g.state(t).region(secondary).Pending.Keys > 0 })
	comeBack, isAway := g.servers[primary].keepAway(t)
	for !isAway {
		comeBack, isAway = g.servers[primary].keepAway(t)
	}
	g.waitActive(t, secondary, 2)
	<-backup
	comeBack()
	g.waitClosed(t)
	u.run(`restic unlock && restic -q backup files && restic check --read-data`)
	u.run(`restic -q restore latest --target back && diff -r files back/files || diff -r files "back$PWD/files"`)
	g.checkReplicated(t)
}

const boto3Script = `
import boto3, io, os, urllib.request
from botocore.config import Config
from botocore.exceptions import ClientError

s3 = boto3.client('s3', endpoint_url=os.environ['ENDPOINT'], config=Config(signature_version='s3v4', retries={'max_attempts': 1}))
bucket, data = 'tandem', open('data', 'rb').read()

def fails(code, call, **args):
    try:
        call(Bucket=bucket, **args)
    except ClientError as e:
        assert e.response['Error']['Code'] == code, e
    else:
        assert False, code

assert [b['Name'] for b in s3.list_buckets()['Buckets']] == [bucket]
s3.put_object(Bucket=bucket, Key='boto/é', Body=b'hello', Metadata={'side': 'a'}, ContentType='text/plain', Tagging='x=1')
got = s3.get_object(Bucket=bucket, Key='boto/é')
assert (got['Body'].read(), got['Metadata'], got['ContentType']) == (b'hello', {'side': 'a'}, 'text/plain')
s3.upload_fileobj(io.BytesIO(data), bucket, 'boto/parts')
assert s3.get_object(Bucket=bucket, Key='boto/parts')['Body'].read() == data
assert s3.get_object(Bucket=bucket, Key='boto/parts', Range='bytes=5-9')['Body'].read() == data[5:10]
s3.copy({'Bucket': bucket, 'Key': 'boto/parts'}, bucket, 'boto/copied')
s3.copy_object(Bucket=bucket, Key='boto/é2', CopySource={'Bucket': bucket, 'Key': 'boto/é'}, MetadataDirective='REPLACE', Metadata={'side': 'b'})
assert s3.head_object(Bucket=bucket, Key='boto/é2')['Metadata'] == {'side': 'b'}
s3.put_object_tagging(Bucket=bucket, Key='boto/é', Tagging={'TagSet': [{'Key': 'y', 'Value': '2'}]})
assert s3.get_object_tagging(Bucket=bucket, Key='boto/é')['TagSet'] == [{'Key': 'y', 'Value': '2'}]
keys = [o['Key'] for page in s3.get_paginator('list_objects_v2').paginate(Bucket=bucket, Prefix='boto/', PaginationConfig={'PageSize': 2}) for o in page['Contents']]
assert keys == ['boto/copied', 'boto/parts', 'boto/é', 'boto/é2'], keys
assert keys == [o['Key'] for page in s3.get_paginator('list_objects').paginate(Bucket=bucket, Prefix='boto/', PaginationConfig={'PageSize': 3}) for o in page['Contents']]
assert [p['Prefix'] for p in s3.list_objects_v2(Bucket=bucket, Prefix='bo', Delimiter='/')['CommonPrefixes']] == ['boto/']
put = s3.generate_presigned_url('put_object', Params={'Bucket': bucket, 'Key': 'boto/signed'})
assert urllib.request.urlopen(urllib.request.Request(put, data=b'by url', method='PUT')).status == 200
assert urllib.request.urlopen(s3.generate_presigned_url('get_object', Params={'Bucket': bucket, 'Key': 'boto/signed'})).read() == b'by url'
fails('NoSuchKey', s3.get_object, Key='boto/none')
fails('404', s3.head_object, Key='boto/none')
fails('AccessDenied', s3.get_object, Key='.tandem/region')
fails('PreconditionFailed', s3.get_object, Key='boto/é', IfMatch='"other"')
fails('NoSuchUpload', s3.list_parts, Key='boto/é', UploadId='none')
assert s3.get_bucket_location(Bucket=bucket)['LocationConstraint'] is None
s3.head_bucket(Bucket=bucket)
s3.upload_fileobj(io.BytesIO(data), bucket, 'left/boto')
gone = s3.delete_objects(Bucket=bucket, Delete={'Objects': [{'Key': k} for k in keys + ['boto/signed']]})
assert len(gone['Deleted']) == 5 and 'Errors' not in gone, gone
assert s3.list_objects_v2(Bucket=bucket, Prefix='boto/')['KeyCount'] == 0
print('all is well')
`
