//go:build mutant

package sim

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/mutant"
)

var broken = flag.String("mutant", "", "the rule to break, as internal/mutant names it")

func TestMain(m *testing.M) {
	flag.Parse()
	mutant.Set(*broken)
	os.Exit(m.Run())
}

// mutation is a rule that is broken, and what has to notice it.
type mutation struct {
	name string
	// promises are those whose checks may notice it, in one of so many histories that are drawn;
	// windows is the flag of that name (4 where it is 0).
	promises []string
	within   uint64
	windows  int
	// history is one that is told (testdata/histories), and that comes out differently.
	history string
	// unnoticed says why nothing is known to notice it, "" where something does.
	unnoticed string
}

// huntTime bounds one mutant.
const huntTime = 5 * time.Minute

// TestMutants breaks each rule in turn. A mutant that nothing notices is a promise that nothing
// checks, or a fault that never comes about. Each has a process of its own, for it may end that.
func TestMutants(t *testing.T) {
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			if m.within > 0 {
				m.draw(t)
			}
			if m.history != "" {
				m.tell(t)
			}
			if m.unnoticed != "" {
				t.Log("nothing notices it: " + m.unnoticed)
			}
		})
	}
}

// draw runs histories until one breaks a promise that the mutant is known to break.
func (m mutation) draw(t *testing.T) {
	const start = 1
	var others []violation
	for next, end := uint64(start), start+m.within; next < end; {
		out, err := m.run(t, "-test.run=^TestEveryPromiseHoldsInEveryHistory$", fmt.Sprintf("-windows=%d", cmp.Or(m.windows, 4)),
			fmt.Sprintf("-start=%d", next), fmt.Sprintf("-seeds=%d", end-next))
		if errors.Is(err, context.DeadlineExceeded) && slices.Contains(m.promises, quiescence) {
			t.Logf("it does not end within %v", huntTime)
			return
		}
		seen := violationsIn(out)
		if i := slices.IndexFunc(seen, func(v violation) bool { return slices.Contains(m.promises, v.promise) }); i >= 0 {
			t.Logf("noticed in history %d of at most %d: %s", seen[i].seed-start+1, m.within, seen[i].promise)
			return
		}
		switch {
		case err == nil:
			next = end
		case len(seen) == 0:
			t.Fatalf("the simulation has ended without a verdict: %v\n%s", err, out[max(0, len(out)-4000):])
		default:
			others = append(others, seen...)
			next = slices.MaxFunc(seen, func(a, b violation) int { return int(a.seed) - int(b.seed) }).seed + 1
		}
	}
	t.Errorf("not noticed within %d histories; what they show, if anything, is none of %q: %v", m.within, m.promises, others)
}

// tell has a history told that is written for the rule.
func (m mutation) tell(t *testing.T) {
	out, err := m.run(t, "-test.run=^TestNamedHistories$/^"+m.history+"$")
	if err == nil || !bytes.Contains(out, []byte("--- FAIL: TestNamedHistories/"+m.history)) {
		t.Errorf("%s comes out as it should: %v\n%s", m.history, err, out)
	}
}

// run runs tests in a process in which the rule is broken.
func (m mutation) run(t *testing.T, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(t.Context(), huntTime)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self, append([]string{"-mutant=" + m.name, "-test.failfast"}, args...)...)
	out, err := cmd.Output()
	return out, errors.Join(ctx.Err(), err)
}

// violation is a promise that was broken in the history of a seed.
type violation struct {
	seed    uint64
	promise string
}

// violated writes them.
var violationLine = regexp.MustCompile(`seed (\d+): (promise \d+: [^:\n]+|[^:\n]+): `)

func violationsIn(out []byte) (list []violation) {
	for _, found := range violationLine.FindAllSubmatch(out, -1) {
		seed, err := strconv.ParseUint(string(found[1]), 10, 64)
		if v := (violation{seed, string(found[2])}); err == nil && !slices.Contains(list, v) {
			list = append(list, v)
		}
	}
	return list
}

// TestEveryMutantIsHunted: one that is in no table is never noticed, whatever it breaks.
func TestEveryMutantIsHunted(t *testing.T) {
	parsed, err := parser.ParseFile(token.NewFileSet(), "../mutant/doc.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		constant, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		name, err := strconv.Unquote(constant.Values[0].(*ast.BasicLit).Value)
		if err != nil || !slices.ContainsFunc(mutations, func(m mutation) bool { return m.name == name && (m.within > 0 || m.history != "" || m.unnoticed != "") }) {
			t.Errorf("%s is hunted by nothing (%v)", name, err)
		}
		return true
	})
}
