package e2e_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/gnew/tandem/internal/region/regiontest"
)

// A poor region has no uploads in parts, no tags, and no conditions on writes: the primary takes them and
// ignores them, every other region refuses them.
//
// What it holds is in the memory of the test. It is reached through a process of its own, which carries bytes and
// does nothing else: killed, it takes every connection with it; stopped, it keeps what waits in its sockets, and that lands once it
// goes on. What the store has taken stays, as on a disk.

// relayVariable has this binary carry connections, from one address to the other, instead of testing.
const relayVariable = "TANDEM_E2E_RELAY"

type poorRegion struct {
	remote
	store *regiontest.Server
}

func startPoorRegion(t *testing.T, name, bucket string) server {
	t.Helper()
	at := access{"", bucket, "poorkey", "poorsecret"}
	store := regiontest.NewServer(regiontest.Options{
		Buckets: []string{bucket}, AccessKey: at.accessKey, NoTags: true, NoMultipart: true, NoTrailers: true,
		IgnoreConditions: name == primary, NoConditions: name != primary,
	})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	target, address := strings.TrimPrefix(regiontest.Start(t, store), "http://"), freeAddress(t)
	at.endpoint = "http://" + address
	p := poorRegion{store: store, remote: newRemote(t, name, at, func() *exec.Cmd {
		cmd := exec.Command(self)
		cmd.Env = []string{relayVariable + "=" + address + " " + target}
		return cmd
	})}
	p.awaitServing(t)
	return p
}

func (p poorRegion) size(_ *testing.T, key string) int64 {
	o, ok := p.store.Object(p.at.bucket, key)
	if !ok {
		return -1
	}
	return o.Size
}

func (p poorRegion) save(*testing.T) (restore func()) {
	saved := p.store.Save()
	return func() { p.store.Load(saved) }
}

func (p poorRegion) clear(*testing.T) { p.store.Load(nil) }

// unfinished is nothing: there are no uploads in parts, and a body that is not complete is held by nobody.
func (p poorRegion) unfinished(*testing.T) []string { return nil }

// runRelay carries connections until the process is killed.
func runRelay(addresses string) (exitCode int) {
	from, to, _ := strings.Cut(addresses, " ")
	l, err := net.Listen("tcp", from)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for {
		in, err := l.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		go func() {
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				return
			}
			carry(in, out)
		}()
	}
}

// carry takes bytes both ways until both sides have ended.
func carry(in, out net.Conn) {
	var group sync.WaitGroup
	group.Go(func() {
		_, _ = io.Copy(out, in)
		_ = out.(*net.TCPConn).CloseWrite()
	})
	_, _ = io.Copy(in, out)
	_ = in.(*net.TCPConn).CloseWrite()
	group.Wait()
	_, _ = in.Close(), out.Close()
}
