package localregion

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"golang.org/x/sync/singleflight"
)

// store is the posix backend with some of its answers put right (answers.go). There is
// one in a process: opening it changes the working directory.
type store struct {
	*posix.Posix
	root        string
	completions singleflight.Group
}

var _ backend.Backend = (*store)(nil)

// openStore opens the folder's buckets, makes the one that is configured and
// repairs what a killed process left behind.
func openStore(ctx context.Context, dir string, s settings) (*store, error) {
	opts := posix.PosixOpts{
		VersioningDir:       filepath.Join(dir, versionsDir),
		CopyObjectThreshold: maxCopyBytes,
		// Unnamed temporary files would be put in place of an object by way of a
		// longer name in its own folder, which listings show and which would limit
		// that object's name to 227 bytes.
		ForceNoTmpFile: true,
	}
	opts.SetNewDirPerm(0o700)
	opts.SetNewFilePerm(0o600)
	var metadata meta.MetadataStorer = meta.XattrMeta{}
	if s.Metadata == metadataSidecar {
		opts.SideCarDir = filepath.Join(dir, metadataDir)
		files, err := meta.NewSideCar(opts.SideCarDir)
		if err != nil {
			return nil, err
		}
		metadata = sidecar{files}
	}
	root := filepath.Join(dir, bucketsDir)
	p, err := posix.New(root, metadata, opts)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(makeBucket(ctx, p, root, s), tidy(root, metadata)); err != nil {
		p.Shutdown()
		return nil, err
	}
	return &store{Posix: p, root: root}, nil
}

// makeBucket makes the bucket unless it is there. The access list comes last and
// is what makes the folder a bucket, so what a crash in between leaves is finished by the next call.
func makeBucket(ctx context.Context, p *posix.Posix, root string, s settings) error {
	if err := os.MkdirAll(filepath.Join(root, s.Bucket), 0o700); err != nil {
		return fmt.Errorf("make bucket: %w", err)
	}
	acl, err := p.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: &s.Bucket})
	if err != nil {
		return fmt.Errorf("make bucket: %w", err)
	}
	if len(acl) > 0 {
		return nil
	}
	acl, err = json.Marshal(auth.ACL{
		Owner: s.AccessKey,
		Grantees: []auth.Grantee{
			{Permission: auth.PermissionFullControl, Access: s.AccessKey, Type: types.TypeCanonicalUser},
		},
	})
	if err != nil {
		return fmt.Errorf("make bucket: %w", err)
	}
	if err := p.PutBucketOwnershipControls(ctx, s.Bucket, types.ObjectOwnershipBucketOwnerEnforced); err != nil {
		return fmt.Errorf("make bucket: %w", err)
	}
	if err := p.PutBucketAcl(ctx, s.Bucket, acl); err != nil {
		return fmt.Errorf("make bucket: %w", err)
	}
	return nil
}
