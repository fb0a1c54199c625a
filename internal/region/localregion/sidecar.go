package localregion

import (
	"os"
	"path/filepath"

	"github.com/versity/versitygw/backend/meta"
)

// stagedAttribute holds the name of the temporary file that an object's metadata was written for.
const stagedAttribute = "staged"

// sidecar keeps metadata in files, found by the object's name. A new object gets a new
// file but the metadata of that name stays, and meta.SideCar lets what the new
// one does not set show through: user metadata, tags, encodings. So the first
// attribute of a new file drops those of the file before.
type sidecar struct{ meta.SideCar }

var _ meta.MetadataStorer = sidecar{}

// StoreAttribute gets a file only while an object is being published, under the
// backend's lock for it; a change of metadata alone comes without one.
func (s sidecar) StoreAttribute(f *os.File, bucket, object, attribute string, value []byte) error {
	if f == nil {
		return s.SideCar.StoreAttribute(f, bucket, object, attribute, value)
	}
	name := filepath.Base(f.Name())
	staged, err := s.RetrieveAttribute(nil, bucket, object, stagedAttribute)
	if err != nil || string(staged) != name {
		if err := s.DeleteAttributes(bucket, object); err != nil {
			return err
		}
		if err := s.SideCar.StoreAttribute(f, bucket, object, stagedAttribute, []byte(name)); err != nil {
			return err
		}
	}
	return s.SideCar.StoreAttribute(f, bucket, object, attribute, value)
}
