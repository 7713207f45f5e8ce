package sqlharness

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
)

// wire stands between handles and a PostgreSQL server: it can be frozen, and the
// connections that it taps break at any call.
type wire struct {
	listen  net.Listener // of those who know an address only
	network string       // where the server is
	address string
	running sync.WaitGroup

	mu        sync.Mutex
	intercept func(executed bool) bool
	frozen    chan struct{} // closed when it thaws; nil: it is not frozen
	open      map[net.Conn]bool
	fewer     *sync.Cond // of open
	closed    bool
}

func newWire(network, address string) (*wire, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // close ends it
	if err != nil {
		return nil, err
	}
	w := &wire{listen: l, network: network, address: address, open: map[net.Conn]bool{}}
	w.fewer = sync.NewCond(&w.mu)
	w.running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			w.running.Go(func() { w.relay(client) })
		}
	})
	return w, nil
}

// close ends what goes over the wire.
func (w *wire) close() error {
	err := w.listen.Close()
	w.mu.Lock()
	w.closed = true
	w.thaw()
	for c := range w.open {
		_ = c.Close()
	}
	w.mu.Unlock()
	w.running.Wait()
	return err
}

// cut breaks all connections.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.open {
		_ = c.Close()
	}
}

// inUse reports whether there is a connection, if it does not end before ctx does.
func (w *wire) inUse(ctx context.Context) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.fewer.Broadcast()
	})
	defer stop()
	for len(w.open) > 0 && ctx.Err() == nil {
		w.fewer.Wait()
	}
	return len(w.open) > 0
}

// keep has connections closed with the wire, if not before by the function
// returned. It reports whether the wire is there.
func (w *wire) keep(conns ...net.Conn) (drop func(), ok bool) {
	drop = func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, c := range conns {
			_ = c.Close()
			delete(w.open, c)
		}
		w.fewer.Broadcast()
	}
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		drop()
		return nil, false
	}
	defer w.mu.Unlock()
	for _, c := range conns {
		w.open[c] = true
	}
	return drop, true
}

// Intercept implements conformance.Interceptor for the connections that are tapped.
// Calls are: opening a connection, a query, and all up to a Sync. A row that is not
// the first of its statement is one more moment, at which the reply breaks off.
func (w *wire) Intercept(f func(executed bool) (breaks bool)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.intercept = f
}

func (w *wire) ask(executed bool) (breaks bool) {
	w.mu.Lock()
	f := w.intercept
	w.mu.Unlock()
	return f != nil && f(executed)
}

// Freeze implements conformance.Freezer. What was sent meanwhile arrives when it
// thaws, also of those who did not wait for it.
func (w *wire) Freeze(context.Context) (thaw func() error, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.frozen != nil {
		return nil, errors.New("it is frozen")
	}
	w.frozen = make(chan struct{})
	return sync.OnceValue(func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.thaw()
		return nil
	}), nil
}

func (w *wire) thaw() {
	if w.frozen != nil {
		close(w.frozen)
		w.frozen = nil
	}
}

// thawed waits while the wire is frozen.
func (w *wire) thawed() {
	w.mu.Lock()
	frozen := w.frozen
	w.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
}

func (w *wire) isFrozen() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.frozen != nil
}

// relay joins a client to the server. What they say is not looked at.
func (w *wire) relay(client net.Conn) {
	server, err := net.Dial(w.network, w.address) //nolint:noctx // the client's patience ends it
	if err != nil {
		_ = client.Close()
		return
	}
	drop, ok := w.keep(client, server)
	if !ok {
		return
	}
	var both sync.WaitGroup
	for _, way := range [2][2]net.Conn{{server, client}, {client, server}} {
		both.Go(func() {
			defer drop()
			buf := make([]byte, 64<<10)
			for {
				n, err := way[1].Read(buf)
				w.thawed()
				if _, werr := way[0].Write(buf[:n]); err != nil || werr != nil {
					return
				}
			}
		})
	}
	both.Wait()
}

// tap puts the wire into a connection that is about to be opened: it has the form
// of pgconn.Config.AfterNetConnect, after any encryption.
func (w *wire) tap(ctx context.Context, _ *pgconn.Config, server net.Conn) (net.Conn, error) {
	client, inner, err := socketPair(ctx)
	if err != nil {
		return server, err // which the driver closes
	}
	drop, ok := w.keep(inner, server)
	if !ok {
		return server, errors.Join(net.ErrClosed, client.Close())
	}
	t := &tap{w: w, client: inner, server: server, drop: drop, ended: make(chan struct{}), idle: make(chan struct{})}
	close(t.idle)
	w.running.Go(t.up)
	w.running.Go(t.down)
	return &tapped{client, t}, nil
}

// socketPair returns the two ends of a connection: what happens to one the other
// learns as from a network.
func socketPair(ctx context.Context) (one, other net.Conn, err error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if one, err = (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String()); err != nil {
		return nil, nil, err
	}
	for {
		if other, err = l.Accept(); err != nil {
			return nil, nil, errors.Join(err, one.Close())
		}
		if other.RemoteAddr().String() == one.LocalAddr().String() {
			return one, other, nil
		}
		_ = other.Close() // a stranger's
	}
}

// discard reads to the end.
func discard(r io.Reader) { _, _ = io.Copy(io.Discard, r) }
