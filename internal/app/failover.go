package app

import (
	"context"
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
	"github.com/gnew/tandem/internal/region"
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
	var probed []health.Region
	for _, r := range a.watchers {
		probed = append(probed, r)
	}
	signer, err := audit.OpenSigner(a.cfg.DataDir, state.JournalID)
	if err != nil {
		return fmt.Errorf("open the audit key: %w", err)
	}
	a.notary = &audit.Notary{JournalID: state.JournalID, Chain: a.journal, Signer: signer, Interval: a.cfg.MarkInterval, Logger: a.opt.Logger}
	a.marks, err = mark.New(mark.Config{
		Bucket: a.cfg.Bucket, Regions: a.watchers, Journal: a.journal, Interval: a.cfg.MarkInterval, Timeout: a.cfg.HealthTimeout, DoubtWindow: a.cfg.DoubtWindow,
		Checkpoint: a.notary.Latest, Changed: a.gateway.SetRegressed,
		Queued: func() { a.replicator.Wake() }, Logger: a.opt.Logger,
	})
	if err != nil {
		return err
	}
	a.health, err = health.New(health.Config{
		Regions: probed, Interval: a.cfg.HealthInterval, Timeout: a.cfg.HealthTimeout,
		Failures: a.cfg.HealthFailures, Recoveries: a.cfg.HealthRecoveries,
		Changed: a.regionChanged, Random: a.opt.Random,
		// A region that came back older is known for it before anybody is told that it is up.
		Check:  a.marks.Check,
		Logger: a.opt.Logger, Metrics: health.NewMetrics(registry),
	})
	if err != nil {
		return err
	}
	metrics := failover.NewMetrics(registry)
	metrics.SetEpoch(state.Epoch)
	a.failover, err = failover.New(failover.Config{
		Bucket: a.cfg.Bucket, Regions: a.regions, Journal: a.journal, Gateway: a.gateway, Workers: a.replicator, Health: a.health,
		Automatic: a.cfg.FailoverMode == config.FailoverAuto, HoldDown: a.cfg.FailoverHoldDown,
		CanaryTimeout: a.cfg.HealthTimeout, Uncompared: a.attacher.Uncompared, Promoted: a.promoted, Removed: a.marks.Forget, Logger: a.opt.Logger, Metrics: metrics,
	})
	return err
}

// regionChanged is told of each change of a region's health.
func (a *App) regionChanged(s health.Status) {
	if s.State == health.Up {
		a.replicator.Returned()
		a.settler.Returned()
		a.uploads.Returned()
	}
	a.failover.Wake()
}

// promoted is told that an epoch is served.
func (a *App) promoted(journal.Failover) {
	a.replicator.Wake()
	a.settler.Returned()
	a.uploads.Returned()
	if _, err := a.notary.Sign(context.Background()); err != nil {
		a.opt.Logger.Warn("no audit checkpoint of the promotion", "err", err)
	}
	a.marks.Wake()
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
	a.marks.WriteAll(ctx)
}

// checkMarks refuses to serve regions that know of more than the journal. An embedded region
// counts as older where the machine went down under it.
func (a *App) checkMarks(ctx context.Context) error {
	var unsynced []string
	if a.journal.MachineStopped() {
		for _, c := range a.cfg.Regions {
			if c.Embedded() {
				unsynced = append(unsynced, c.Name)
			}
		}
	}
	if err := a.marks.Load(ctx, unsynced); err != nil {
		return err
	}
	// A crash before this has them verified once more.
	if err := a.journal.TakeUpMachineStop(ctx); err != nil {
		return fmt.Errorf("record that the embedded regions are verified: %w", err)
	}
	err := a.marks.Inspect(ctx)
	switch {
	case err == nil:
		return nil
	case !a.opt.Repair:
		return fmt.Errorf("%w: the journal was restored from a backup, or another gateway uses the bucket; "+
			"where the first is the case, and no other gateway runs, start once with --repair", err)
	}
	return a.repairJournal(ctx, err)
}

// repairJournal takes the regions over as they are: the journal is moved past what it has
// lost, every key is read again in the active, and no region counts as compared. A crash before
// the last step leaves marks that refuse the next start, and the repair is done again.
func (a *App) repairJournal(ctx context.Context, why error) error {
	newest := a.marks.Newest(ctx)
	if newest == nil {
		return why
	}
	active := newest.Active
	if !slices.ContainsFunc(a.regions, func(r *region.Region) bool { return r.Name() == active }) {
		active = a.gateway.State().Active
	}
	state, err := a.journal.Rebase(ctx, []string{a.cfg.Bucket}, newest.Epoch, newest.Sequence, active)
	if err != nil {
		return fmt.Errorf("repair the journal: %w", err)
	}
	a.opt.Logger.WarnContext(ctx, "journal repaired: every key is read again in the active, and no region counts as compared",
		"epoch", state.Epoch, "active", state.Active, "because", why)
	a.gateway.SetCompared(nil)
	if err := a.gateway.Switch(ctx, state); err != nil {
		return err
	}
	return a.marks.TakeOver(ctx)
}
