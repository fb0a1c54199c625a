package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gnew/tandem/internal/audit"
	"github.com/gnew/tandem/internal/config"
	"github.com/gnew/tandem/internal/failover"
	"github.com/gnew/tandem/internal/health"
	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/mark"
)

// bootID names the machine's boot; "" where the system does not tell.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// syncEmbedded puts what the embedded regions have written on disk, for they do not.
func (a *App) syncEmbedded() {
	if len(a.locals) > 0 {
		syscall.Sync()
	}
}

// buildFailover makes what watches the regions, and what follows from it.
func (a *App) buildFailover(ctx context.Context, registry *prometheus.Registry, state journal.State) (err error) {
	var regions []health.Region
	for _, name := range a.buckets.order {
		regions = append(regions, a.buckets.probed(name))
	}
	signer, err := audit.OpenSigner(a.cfg.DataDir, state.JournalID)
	if err != nil {
		return fmt.Errorf("open the audit key: %w", err)
	}
	a.notary = &audit.Notary{JournalID: state.JournalID, Chain: a.journal, Signer: signer, Interval: a.cfg.MarkInterval, Logger: a.opt.Logger}
	served := failover.Config{
		Journal: a.journal, Gateway: a.buckets, Workers: a.buckets,
		Automatic: a.cfg.FailoverMode == config.FailoverAuto, HoldDown: a.cfg.FailoverHoldDown, CanaryTimeout: a.cfg.HealthTimeout,
		Uncompared: a.buckets.uncomparedIn, Promoted: a.promoted, Removed: a.buckets.forget, Logger: a.opt.Logger, Metrics: failover.NewMetrics(registry),
	}
	for _, b := range a.buckets.list {
		if err := a.buildMarks(b); err != nil {
			return err
		}
		served.Buckets = append(served.Buckets, failover.Bucket{Name: b.Name, Regions: b.regions})
	}
	a.health, err = health.New(health.Config{
		Regions: regions, Interval: a.cfg.HealthInterval, Timeout: a.cfg.HealthTimeout,
		Failures: a.cfg.HealthFailures, Recoveries: a.cfg.HealthRecoveries,
		Changed: a.regionChanged, Random: a.opt.Random,
		// A region that came back older is known for it before anybody is told that it is up.
		Check:  a.buckets.check,
		Logger: a.opt.Logger, Metrics: health.NewMetrics(registry),
	})
	if err != nil {
		return err
	}
	served.Health = a.health
	served.Metrics.SetEpoch(state.Epoch)
	a.failover, err = failover.New(served)
	return err
}

// regionChanged is told of each change of a region's health.
func (a *App) regionChanged(s health.Status) {
	if s.State == health.Up {
		a.buckets.returned()
	}
	a.failover.Wake()
}

// promoted is told that an epoch is served.
func (a *App) promoted(journal.Failover) {
	for _, b := range a.buckets.list {
		b.replicator.Wake()
		b.settler.Returned()
		b.uploads.Returned()
	}
	if _, err := a.notary.Sign(context.Background()); err != nil {
		a.opt.Logger.Warn("no audit checkpoint of the promotion", "err", err)
	}
	for _, b := range a.buckets.list {
		b.marks.Wake()
	}
}

// lastMarksTimeout bounds what a stop does for the next start.
const lastMarksTimeout = 2 * time.Second

// leaveMarks signs the end of the chain and marks the regions, so that what the next start
// finds is compared with how this run left it.
func (a *App) leaveMarks(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastMarksTimeout)
	defer cancel()
	if _, err := a.notary.Sign(ctx); err != nil {
		a.opt.Logger.WarnContext(ctx, "no audit checkpoint of the end", "err", err)
	}
	_ = a.buckets.each(func(b *bucket) error {
		b.marks.WriteAll(ctx)
		return nil
	})
}

// checkMarks refuses to serve regions that know of more than the journal. An embedded region
// counts as older where the machine went down under it.
func (a *App) checkMarks(ctx context.Context) error {
	if err := a.takeUpMachineStop(ctx); err != nil {
		return err
	}
	for _, b := range a.buckets.list {
		if err := b.marks.Load(ctx); err != nil {
			return err
		}
	}
	err := a.buckets.each(func(b *bucket) error { return b.marks.Inspect(ctx) })
	switch {
	case err == nil:
		return nil
	case errors.Is(err, mark.ErrMisplaced):
		return fmt.Errorf("%w: correct the configuration", err)
	case !a.opt.Repair:
		return fmt.Errorf("%w: the journal was restored from a backup, or another gateway uses the bucket; "+
			"where the first is the case, and no other gateway runs, start once with --repair", err)
	}
	return a.repairJournal(ctx, err)
}

// takeUpMachineStop has what embedded regions wrote before the machine went down verified: it may be gone. A crash before
// that is recorded has it seen to by the next start.
func (a *App) takeUpMachineStop(ctx context.Context) error {
	if !a.journal.MachineStopped() {
		return nil
	}
	var unsynced []string
	for _, c := range a.cfg.Regions {
		if c.Embedded() {
			unsynced = append(unsynced, c.Name)
		}
	}
	const why = "the machine stopped uncleanly, and this region does not sync what it writes"
	a.opt.Logger.ErrorContext(ctx, "regions may have lost something; every copy there is verified", "regions", unsynced, "why", why)
	err := a.journal.TakeUpMachineStop(ctx, unsynced, why)
	if err != nil {
		return fmt.Errorf("record that the embedded regions are verified: %w", err)
	}
	return nil
}

// repairJournal takes the regions over as they are: the journal is moved past what it has
// lost, every key is read again in the active, and no region counts as compared. A crash before
// the last step leaves marks that refuse the next start, and the repair is done again.
func (a *App) repairJournal(ctx context.Context, why error) error {
	newest, active, err := a.newestMarks(ctx)
	if newest == nil || err != nil {
		return cmp.Or(err, why)
	}
	state, err := a.journal.Rebase(ctx, newest.Epoch, newest.Sequence, active)
	if err != nil {
		return fmt.Errorf("repair the journal: %w", err)
	}
	a.opt.Logger.WarnContext(ctx, "journal repaired: every key is read again in the active, and no region counts as compared",
		"epoch", state.Epoch, "active", state.Active, "because", why)
	for _, b := range a.buckets.list {
		b.gateway.SetCompared(nil)
	}
	if err := a.buckets.Switch(ctx, state); err != nil {
		return err
	}
	return a.buckets.each(func(b *bucket) error { return b.marks.TakeOver(ctx) })
}

// newestMarks returns the newest mark in any bucket, and who was active by our own: a bucket that another gateway has
// left to us says nothing of the others. Where none is ours, the journal is new, and theirs is what there is to go by.
func (a *App) newestMarks(ctx context.Context) (newest *mark.Content, active string, err error) {
	state := a.buckets.State()
	var ours *mark.Content
	for _, b := range a.buckets.list {
		for _, m := range b.marks.ReadAll(ctx) {
			if newest == nil || m.IsAfter(newest) {
				newest = m
			}
			if m.Journal == state.JournalID && (ours == nil || m.IsAfter(ours)) {
				ours = m
			}
		}
	}
	switch {
	case newest == nil:
		return nil, "", nil
	case ours == nil:
		ours = newest
	}
	switch active = ours.Active; {
	case !slices.Contains(a.buckets.order, active):
		active = state.Active
	case slices.ContainsFunc(a.buckets.list, func(b *bucket) bool { return !b.has(active) }):
		return nil, "", fmt.Errorf("region %q was active last, and lacks a bucket, which the active needs: configure it", active)
	}
	return newest, active, nil
}
