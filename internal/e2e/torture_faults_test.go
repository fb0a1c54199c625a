package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// fault is something that is done to a gateway and its regions.
type fault struct {
	name string
	// weight is how often it is drawn beside its turn.
	weight int
	do     func(l *life)
}

// The names under which what happened is counted.
const (
	gatewayKills   = "gateway killed"
	startKills     = "gateway killed while it starts"
	gatewayStops   = "gateway stopped and continued"
	gatewayEnds    = "gateway restarted by an operator"
	regionKills    = "region killed"
	regionStops    = "region stopped and continued"
	regionAways    = "region killed and kept away"
	promoted       = "promotions by an operator"
	promotedItself = "promotions by the gateway"
	notPromoted    = "promotions refused or without an answer"
	fullDisks      = "disk filled"
	guardRefusals  = "writes refused for want of room, by the guard"
	fullRefusals   = "writes refused or in doubt on a full disk"
	failedStarts   = "starts that failed on a full disk"
)

// The longest that something is stopped or away. Less than the doubt window, for a write that waits
// in a stopped region's sockets longer than that is beyond what is promised.
const longestFault = 900 * time.Millisecond

func faults() []fault {
	return []fault{
		{gatewayKills, 4, (*life).killGateway},
		{startKills, 1, (*life).killStarting},
		{gatewayStops, 2, (*life).stopGateway},
		{gatewayEnds, 1, (*life).endGateway},
		{regionKills, 3, (*life).killRegion},
		{regionStops, 4, (*life).stopRegion},
		{regionAways, 4, (*life).keepAway},
		{promoted, 4, (*life).promote},
		{fullDisks, 2, (*life).fillDisk},
	}
}

// event is something that is done when its time has come.
type event struct {
	at time.Time
	do func()
}

// after has something done in a while. Whatever a fault takes away it gives back in a later event: when
// none is left, nothing is stopped, away or full.
func (l *life) after(d time.Duration, do func()) {
	l.events = append(l.events, event{time.Now().Add(d), do})
}

// play does what is planned, in the order of its time, until nothing is left.
func (l *life) play() {
	for len(l.events) > 0 {
		slices.SortStableFunc(l.events, func(a, b event) int { return a.at.Compare(b.at) })
		next := l.events[0]
		l.events = l.events[1:]
		<-time.After(time.Until(next.at))
		next.do()
	}
}

func (l *life) between(least, most time.Duration) time.Duration {
	return least + time.Duration(l.random.Int64N(int64(most-least)))
}

func (l *life) oneOf(names ...string) string { return names[l.random.IntN(len(names))] }

// note remembers what was done, for whoever reads about a failure.
func (l *life) note(format string, args ...any) {
	l.notes = append(l.notes, fmt.Sprintf("%9.3fs %s", l.history.now().Seconds(), fmt.Sprintf(format, args...)))
}

// plan draws the faults of a round: the one whose turn it is, and some others.
func (l *life) plan(round int) {
	all := faults()
	var drawn []fault
	for _, f := range all {
		drawn = append(drawn, slices.Repeat([]fault{f}, f.weight)...)
	}
	l.after(l.between(200*time.Millisecond, 500*time.Millisecond), func() { all[round%len(all)].do(l) })
	for range 2 + l.random.IntN(4) {
		l.after(l.between(200*time.Millisecond, 1500*time.Millisecond), func() { drawn[l.random.IntN(len(drawn))].do(l) })
	}
}

// running is the gateway's process, nil where it has ended.
func (l *life) running() *process {
	p := l.g.process
	if p == nil || isEnded(p) {
		return nil
	}
	return p
}

func isEnded(p *process) bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

func (l *life) killGateway() {
	p := l.running()
	if p == nil {
		return
	}
	l.endings[p] = byKill
	_ = p.cmd.Process.Kill() // it may be ending
	l.note("kill the gateway")
	l.tally.add(gatewayKills, 1)
	l.after(l.between(0, 300*time.Millisecond), l.startGateway)
}

// killStarting kills the gateway, starts it, and kills it again before it serves, or soon after.
func (l *life) killStarting() {
	l.killGateway()
	l.after(300*time.Millisecond, func() {
		l.startGateway()
		l.after(l.between(5*time.Millisecond, 250*time.Millisecond), func() {
			if l.running() == nil {
				return
			}
			l.killGateway()
			l.tally.add(startKills, 1)
		})
	})
}

func (l *life) endGateway() {
	p := l.running()
	if p == nil || p.cmd.Process.Signal(syscall.SIGTERM) != nil {
		return
	}
	l.endings[p] = byOperator
	l.note("the gateway is to end")
	l.tally.add(gatewayEnds, 1)
	l.after(50*time.Millisecond, l.startGateway)
}

// startGateway starts a gateway once there is none.
func (l *life) startGateway() {
	if p := l.running(); p != nil {
		if l.endings[p] == byItself {
			return
		}
		l.after(20*time.Millisecond, l.startGateway)
		return
	}
	l.launch()
	l.note("start the gateway")
}

func (l *life) stopGateway() {
	p := l.running()
	if p == nil || p.cmd.Process.Signal(syscall.SIGSTOP) != nil {
		return
	}
	l.note("stop the gateway")
	l.tally.add(gatewayStops, 1)
	l.after(l.between(50*time.Millisecond, longestFault), func() {
		_ = p.cmd.Process.Signal(syscall.SIGCONT) // it may have been killed
		l.note("continue the gateway")
	})
}

// regionProcess is the process that serves a region, or waits to.
func (l *life) regionProcess(name string) *os.Process {
	pid, ok := l.g.servers[name].pid(l.t)
	if !ok {
		return nil
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return nil
	}
	return p
}

func (l *life) killRegion() {
	name := l.oneOf(primary, secondary)
	if p := l.regionProcess(name); p != nil && p.Kill() == nil {
		l.note("kill %s", name)
		l.tally.add(regionKills, 1)
	}
}

func (l *life) stopRegion() {
	name := l.oneOf(primary, secondary)
	p := l.regionProcess(name)
	if p == nil || p.Signal(syscall.SIGSTOP) != nil {
		return
	}
	l.note("stop %s", name)
	l.tally.add(regionStops, 1)
	l.after(l.between(50*time.Millisecond, longestFault), func() {
		_ = p.Signal(syscall.SIGCONT) // it may have been killed
		l.note("continue %s", name)
	})
}

// keepAway kills a region, and has no other process take its place for a while.
func (l *life) keepAway() {
	name := l.oneOf(primary, secondary)
	var try func()
	tries := 0
	try = func() {
		comeBack, isAway := l.g.servers[name].keepAway(l.t)
		if tries++; !isAway && tries < 20 {
			l.after(10*time.Millisecond, try)
			return
		}
		if !isAway {
			return
		}
		l.note("%s is away", name)
		l.tally.add(regionAways, 1)
		l.after(l.between(200*time.Millisecond, 1500*time.Millisecond), func() {
			comeBack()
			l.note("%s may come back", name)
		})
	}
	try()
}

// promote asks for the other region to be promoted, whatever goes on.
func (l *life) promote() {
	l.note("promote")
	l.asked.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), requestPatience)
		defer cancel()
		a, err := l.send(ctx, http.MethodPost, "/admin/failover/promote", strings.NewReader(`{"reason": "torture"}`))
		if err != nil || a.status != http.StatusOK {
			l.tally.add(notPromoted, 1)
		}
	})
}

func (l *life) fillDisk() {
	if l.full {
		return
	}
	if err := l.room.fill(); err != nil {
		l.t.Fatalf("fill the disk: %v", err)
	}
	l.full, l.wasFull = true, true
	l.note("the disk is full")
	l.tally.add(fullDisks, 1)
	// The guard looks once a second.
	l.after(l.between(200*time.Millisecond, 1500*time.Millisecond), func() {
		if err := l.room.free(); err != nil {
			l.t.Fatalf("free the disk: %v", err)
		}
		l.full = false
		l.note("the disk has room")
	})
}

// send makes a request of whichever gateway there is.
func (l *life) send(ctx context.Context, method, path string, body io.Reader) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, *l.url.Load()+path, body)
	if err != nil {
		return answer{}, err
	}
	resp, err := l.g.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, data}, err
}
