package localregion

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
)

const (
	temporaryDir     = posix.MetaTmpDir
	multipartDir     = posix.MetaTmpMultipartDir
	inProgressSuffix = ".inprogress"
)

// tidy repairs what a killed server left in the buckets under root. It must run
// before any request.
//
// An object is written to a file in temporaryDir and renamed to its place: killed
// before, it leaves that file, which nothing will ever use. To complete a multipart
// upload, UPLOAD is renamed to UPLOAD.ETAG.inprogress, assembled, and removed;
// killed before the end, it leaves that name, and the server would then answer every repeated
// completion with success, taking the dead one for still running. Under its
// first name the upload can be completed again.
func tidy(root string, metadata meta.MetadataStorer) error {
	buckets, err := os.ReadDir(root)
	if err != nil {
		return fmt.Errorf("tidy buckets: %w", err)
	}
	for _, bucket := range buckets {
		if !bucket.IsDir() {
			continue
		}
		err := errors.Join(
			removeTemporary(filepath.Join(root, bucket.Name(), temporaryDir)),
			reopenUploads(root, bucket.Name(), metadata),
		)
		if err != nil {
			return fmt.Errorf("tidy bucket %s: %w", bucket.Name(), err)
		}
	}
	return nil
}

func removeTemporary(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, entry := range entries {
		if entry.Type().IsRegular() {
			err = errors.Join(err, os.Remove(filepath.Join(dir, entry.Name())))
		}
	}
	return err
}

func reopenUploads(root, bucket string, metadata meta.MetadataStorer) error {
	left, err := fs.Glob(os.DirFS(filepath.Join(root, bucket)), multipartDir+"/*/*"+inProgressSuffix)
	if err != nil {
		return err
	}
	for _, claimed := range left {
		upload, _, _ := strings.Cut(path.Base(claimed), ".")
		upload = path.Join(path.Dir(claimed), upload)
		// Metadata first: a crash between the two leaves the name that is looked for here.
		if err := metadata.RenameObject(bucket, claimed, upload); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(root, bucket, claimed), filepath.Join(root, bucket, upload)); err != nil {
			return err
		}
	}
	return nil
}
