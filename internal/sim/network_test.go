package sim

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
)

// network is the in-memory connections of one life of the gateway, to clients and regions. Cutting
// it is what the death of a process does to them.
type network struct {
	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]struct{}

	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func newNetwork() *network {
	return &network{conns: make(map[net.Conn]struct{}), accepted: make(chan net.Conn), closed: make(chan struct{})}
}

var errCut = &net.OpError{Op: "dial", Net: "pipe", Err: syscall.ECONNREFUSED}

// watch has a connection cut with the network.
func (n *network) watch(c net.Conn) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut {
		return nil, errors.Join(errCut, c.Close())
	}
	n.conns[c] = struct{}{}
	return &watchedConn{Conn: c, network: n}, nil
}

type watchedConn struct {
	net.Conn
	network *network
}

func (c *watchedConn) Close() error {
	c.network.mu.Lock()
	delete(c.network.conns, c.Conn)
	c.network.mu.Unlock()
	return c.Conn.Close()
}

// sever cuts every connection, and lets none be made again.
func (n *network) sever() {
	n.mu.Lock()
	n.cut = true
	conns := n.conns
	n.conns = make(map[net.Conn]struct{})
	n.mu.Unlock()
	for c := range conns {
		_ = c.Close()
	}
}

// dialer is dial, within the network.
func (n *network) dialer(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		n.mu.Lock()
		cut := n.cut
		n.mu.Unlock()
		if cut {
			return nil, errCut
		}
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return n.watch(c)
	}
}

// connect makes a connection to the gateway's listener.
func (n *network) connect(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	watched, err := n.watch(client)
	if err != nil {
		return nil, err
	}
	select {
	case n.accepted <- server:
		return watched, nil
	case <-n.closed:
		return nil, errors.Join(errCut, watched.Close())
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), watched.Close())
	}
}

// Accept, Close and Addr make the network the gateway's listener.
func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.accepted:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *network) Close() error {
	n.once.Do(func() { close(n.closed) })
	return nil
}

func (n *network) Addr() net.Addr { return &net.UnixAddr{Name: "gateway", Net: "pipe"} }
