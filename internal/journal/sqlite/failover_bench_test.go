package sqlite_test

import (
	"fmt"
	"testing"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/journal/sqlite"
)

// BenchmarkFailover is what a promotion, and what comes after it, takes with as many keys at
// risk. Nothing is written meanwhile: each is one transaction.
func BenchmarkFailover(b *testing.B) {
	for _, keys := range []int{10_000, 100_000} {
		j := newWritable(b, sqlite.Config{})
		if err := sqlite.AddWrites(j, "bucket", keys); err != nil {
			b.Fatal(err)
		}
		epoch := int64(1)
		promote := func(b *testing.B, region string) journal.Failover {
			f, err := j.Promote(b.Context(), journal.Promotion{After: epoch, Region: region})
			if err != nil {
				b.Fatal(err)
			}
			epoch++
			return f
		}
		b.Run(fmt.Sprintf("promote/%d", keys), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				if epoch == 2 {
					promote(b, "alpha")
				}
				b.StartTimer()
				if f := promote(b, "beta"); f.AtRisk != int64(keys) {
					b.Fatalf("got %+v", f)
				}
				b.StopTimer()
				promote(b, "alpha")
				b.StartTimer()
			}
		})
		b.Run(fmt.Sprintf("promote-the-holder/%d", keys), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				promote(b, "beta")
				b.StartTimer()
				promote(b, "alpha")
			}
		})
		promote(b, "beta")
		b.Run(fmt.Sprintf("risk/%d", keys), func(b *testing.B) {
			for b.Loop() {
				if _, err := j.Risk(b.Context(), journal.Promotion{Region: "alpha"}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("failovers/%d", keys), func(b *testing.B) {
			for b.Loop() {
				if _, err := j.Failovers(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("regress/%d", keys), func(b *testing.B) {
			for b.Loop() {
				if err := j.Regress(b.Context(), "bucket", "alpha", "older"); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("detach/%d", keys), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				j := newWritable(b, sqlite.Config{})
				if err := sqlite.AddWrites(j, "bucket", keys); err != nil {
					b.Fatal(err)
				}
				if _, err := j.Promote(b.Context(), journal.Promotion{After: 1, Region: "beta"}); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if err := j.Detach(b.Context(), "alpha", "operator", "gone"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
