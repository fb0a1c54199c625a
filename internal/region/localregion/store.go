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

// openStore opens the folder's buckets, makes those that are configured and
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
	for _, name := range s.buckets() {
		err = errors.Join(err, makeBucket(ctx, p, root, name, s.AccessKey))
	}
	if err := errors.Join(err, tidy(root, metadata)); err != nil {
		p.Shutdown()
		return nil, err
	}
	return &store{Posix: p, root: root}, nil
}

// makeBucket makes the owner's bucket unless it is there. The access list comes last and
// is what makes the folder a bucket, so what a crash in between leaves is finished by the next call.
func makeBucket(ctx context.Context, p *posix.Posix, root, name, owner string) error {
	if err := os.MkdirAll(filepath.Join(root, name), 0o700); err != nil {
		return fmt.Errorf("make bucket %s: %w", name, err)
	}
	acl, err := p.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: &name})
	if err != nil {
		return fmt.Errorf("make bucket %s: %w", name, err)
	}
	if len(acl) > 0 {
		return nil
	}
	acl, err = json.Marshal(auth.ACL{
		Owner: owner,
		Grantees: []auth.Grantee{
			{Permission: auth.PermissionFullControl, Access: owner, Type: types.TypeCanonicalUser},
		},
	})
	if err != nil {
		return fmt.Errorf("make bucket %s: %w", name, err)
	}
	if err := p.PutBucketOwnershipControls(ctx, name, types.ObjectOwnershipBucketOwnerEnforced); err != nil {
		return fmt.Errorf("make bucket %s: %w", name, err)
	}
	if err := p.PutBucketAcl(ctx, name, acl); err != nil {
		return fmt.Errorf("make bucket %s: %w", name, err)
	}
	return nil
}
