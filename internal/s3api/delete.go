package s3api

import (
	"errors"
	"net/http"

	"golang.org/x/sync/errgroup"

	"github.com/gnew/tandem/internal/s3op"
)

func asError(err error) (*s3op.Error, bool) { return errors.AsType[*s3op.Error](err) }

// deleteObjects deletes many keys. Each is a write of its own: it has an intent, and is deleted in the region
// or is not, whatever becomes of the others.
func (c *call) deleteObjects() error {
	in, err := c.readDeletes()
	if err != nil {
		return err
	}
	errs := make([]error, len(in.Objects))
	var group errgroup.Group
	group.SetLimit(deleteWorkers)
	for i, o := range in.Objects {
		group.Go(func() error {
			switch {
			case !c.caller.reaches(c.name, o.Key):
				errs[i] = accessDenied()
				return nil
			case o.VersionID != "" && o.VersionID != "null":
				errs[i] = s3op.NewError(s3op.NotImplemented, "NotImplemented", "deleting a version by its id is not implemented; delete the key")
				return nil
			case o.LastModifiedTime != nil || o.Size != nil:
				// To leave a condition out would delete what its client has not meant.
				errs[i] = s3op.NewError(s3op.NotImplemented, "NotImplemented", "LastModifiedTime and Size are not implemented as conditions; ETag is")
				return nil
			}
			var h http.Header
			if o.ETag != "" {
				h = http.Header{"If-Match": {o.ETag}}
			}
			_, errs[i] = c.bucket.Gateway.Delete(c.r.Context(), o.Key, h)
			return nil
		})
	}
	_ = group.Wait() // each error is its key's
	var result deleteResult
	for i, o := range in.Objects {
		switch {
		case errs[i] != nil:
			result.Error = append(result.Error, c.deleteError(o.Key, o.VersionID, errs[i]))
		case !in.Quiet:
			result.Deleted = append(result.Deleted, deletedObject{o.Key})
		}
	}
	return c.writeXML(result)
}
