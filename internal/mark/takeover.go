package mark

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/gnew/tandem/internal/region"
)

// ReadAll returns what the regions' marks say, whatever journal wrote them, of those that answer.
func (k *Keeper) ReadAll(ctx context.Context) (list []*Content) {
	for _, r := range k.Regions {
		c, err := k.readOne(ctx, r)
		if err != nil {
			k.Logger.WarnContext(ctx, "mark not read", "region", r.Name(), "err", err)
			continue
		}
		if c != nil {
			list = append(list, c)
		}
	}
	return list
}

// readOne bounds the wait for one region, so that the others are read all the same.
func (k *Keeper) readOne(ctx context.Context, r *region.Region) (*Content, error) {
	ctx, cancel := context.WithTimeout(ctx, k.Timeout)
	defer cancel()
	return Read(ctx, r)
}

// TakeOver marks every region that answers anew, whatever its mark says. One that is down
// keeps its mark, and is checked by it once it answers.
func (k *Keeper) TakeOver(ctx context.Context) error {
	var failures error
	for _, r := range k.Regions {
		err := k.takeOver(ctx, k.regions[r.Name()])
		if region.IsDown(err) {
			k.Logger.WarnContext(ctx, "region not taken over: it does not answer", "region", r.Name(), "err", err)
			err = nil
		}
		failures = errors.Join(failures, err)
	}
	return failures
}

func (k *Keeper) takeOver(ctx context.Context, r *keptRegion) error {
	ctx, cancel := context.WithTimeout(ctx, k.Timeout)
	defer cancel()
	if err := r.take(ctx); err != nil {
		return err
	}
	defer r.give()
	content, err := k.content(ctx, r.Name(), time.Time{})
	if err != nil {
		return err
	}
	return k.put(ctx, r, content, http.Header{})
}
