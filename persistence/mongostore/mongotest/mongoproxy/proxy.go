package mongoproxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Config says what a proxy stands before and what it does.
type Config struct {
	// Dial connects to the server. Required. A connection is made for each of the
	// clients'.
	Dial func(context.Context) (net.Conn, error)
	// OneAtATime: a command is sent to the server when the one before, of whatever
	// connection, was answered. Only hello, ping and getMore go at any time.
	OneAtATime bool
	// Slow is after how long the Logger is told of a command that the server has not
	// answered: it may hang, and with OneAtATime all others with it. Default: never.
	Slow time.Duration
	// Logger is told, on level Warn, of slow commands, and of connections that were
	// given up because something other than their ends failed. Default: nobody.
	Logger *slog.Logger
}

// Command is what a client asks of the server.
type Command struct {
	Name     string // as sent: the first key of Body
	Database string
	// Body is the whole command. What was sent beside it as document sequences
	// ("documents", "updates", "deletes") is in it, as arrays. Not to be changed.
	Body bson.Raw
}

// Background tells whether drivers send the command of their own accord, before,
// between and after what their caller asks for: to greet, watch and authenticate,
// and to let go of sessions and cursors.
func (c Command) Background() bool {
	switch c.Name {
	case "hello", "isMaster", "ismaster", "ping", "buildInfo", "saslStart", "saslContinue", "authenticate",
		"endSessions", "killCursors":
		return true
	}
	return false
}

// alone tells whether the command must not run beside others.
func (c Command) alone() bool {
	switch c.Name {
	case "hello", "isMaster", "ismaster", "ping", "getMore":
		return false
	}
	return true
}

// Call is a moment of a command: before it is sent to the server, or when it was
// executed and the reply is on its way.
type Call struct {
	Command

	// Reply is the server's; nil: it was not asked yet.
	Reply bson.Raw
}

// Executed tells whether the server has executed the command.
func (c Call) Executed() bool { return c.Reply != nil }

// Fault is what happens to a call instead of what should. The zero value is nothing.
type Fault struct {
	// Break breaks the client's connection. A command that was not executed never
	// will be.
	Break bool
	// Answer, if not nil, is what the client is told instead: of a command that was
	// not executed, and never will be, or of one that was.
	Answer bson.Raw
}

// Proxy stands between clients and a server. Methods are safe for concurrent use.
type Proxy struct {
	cfg    Config
	listen net.Listener
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	turn   chan struct{} // holds one element while a command that is alone runs
	// nil or what Intercept and Watch were given.
	intercept atomic.Pointer[func(Call) Fault]
	watch     atomic.Pointer[func(Command)]
	serving   sync.WaitGroup

	mu     sync.Mutex
	links  map[*link]struct{}
	frozen chan struct{} // closed when thawed; nil: not frozen
}

// Start starts a proxy on a free port of 127.0.0.1.
func Start(cfg Config) (*Proxy, error) {
	if cfg.Dial == nil {
		return nil, errors.New("mongoproxy: Config.Dial is required")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // ended by Close
	if err != nil {
		return nil, err
	}
	p := &Proxy{cfg: cfg, listen: l, turn: make(chan struct{}, 1), links: map[*link]struct{}{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.serving.Go(p.accept)
	return p, nil
}

// Addr is where the proxy listens: host and port.
func (p *Proxy) Addr() string { return p.listen.Addr().String() }

// Intercept asks f at both moments of every command, those in the background
// included. f may wait: the command, or its reply, waits so long, and no other. It
// is asked by several goroutines at once. nil ends it.
func (p *Proxy) Intercept(f func(Call) Fault) {
	if f == nil {
		p.intercept.Store(nil)
		return
	}
	p.intercept.Store(&f)
}

// Watch shows f every command before anything else happens to it, those in the
// background included. It is called by several goroutines at once. nil ends it.
func (p *Proxy) Watch(f func(Command)) {
	if f == nil {
		p.watch.Store(nil)
		return
	}
	p.watch.Store(&f)
}

// Freeze stops everything without ending a connection: nothing is sent to the
// server any more, and nothing back, until thaw is called. What waited goes on then,
// also if its client is gone, as with a server that was stopped. thaw does nothing
// the second time, nor does freezing what is frozen.
func (p *Proxy) Freeze() (thaw func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen != nil {
		return func() {}
	}
	gate := make(chan struct{})
	p.frozen = gate
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.frozen = nil
		close(gate)
	})
}

// Break breaks all connections. It returns when the server has answered what it
// was sent on them.
func (p *Proxy) Break() {
	p.mu.Lock()
	var broken []*link
	for k := range p.links {
		_ = k.client.Close()
		broken = append(broken, k)
	}
	p.mu.Unlock()
	for _, k := range broken {
		<-k.done
	}
}

// Close ends the proxy and all connections and waits for nothing but itself.
func (p *Proxy) Close() error {
	p.cancel()
	err := p.listen.Close()
	p.mu.Lock()
	for k := range p.links {
		k.close()
	}
	p.mu.Unlock()
	p.serving.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (p *Proxy) accept() {
	for {
		c, err := p.listen.Accept()
		if err != nil {
			return
		}
		k := &link{p: p, client: c, done: make(chan struct{})}
		if !p.add(k) {
			_ = c.Close()
			return
		}
		p.serving.Go(func() {
			defer close(k.done)
			defer p.remove(k)
			if err := k.serve(); err != nil && p.ctx.Err() == nil && !gone(err) {
				p.cfg.Logger.Warn("a connection was given up", "error", err)
			}
		})
	}
}

// gone tells whether the error says no more than that an end of a connection is.
func gone(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &op) && op.Op != "dial"
}

func (p *Proxy) add(k *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return false
	}
	p.links[k] = struct{}{}
	return true
}

func (p *Proxy) remove(k *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k.close()
	delete(p.links, k)
}

// warm waits while the proxy is frozen.
func (p *Proxy) warm() error {
	for {
		p.mu.Lock()
		gate := p.frozen
		p.mu.Unlock()
		if gate == nil {
			return nil
		}
		select {
		case <-gate:
		case <-p.ctx.Done():
			return p.ctx.Err()
		}
	}
}

func (p *Proxy) fault(c Call) Fault {
	if f := p.intercept.Load(); f != nil {
		return (*f)(c)
	}
	return Fault{}
}

// link is a client's connection and its own to the server.
type link struct {
	p      *Proxy
	client net.Conn
	server net.Conn // nil until dialled; set under p.mu
	back   *bufio.Reader
	done   chan struct{}
}

// close ends both connections. p.mu is held.
func (k *link) close() {
	_ = k.client.Close()
	if k.server != nil {
		_ = k.server.Close()
	}
}

func (k *link) dial() error {
	server, err := k.p.cfg.Dial(k.p.ctx)
	if err != nil {
		return err
	}
	k.p.mu.Lock()
	defer k.p.mu.Unlock()
	k.server, k.back = server, bufio.NewReader(server)
	if err := k.p.ctx.Err(); err != nil { // Close may have been and gone
		_ = server.Close()
		return err
	}
	return nil
}

// serve answers the client's commands, one after the other, until one of them ends
// the connection.
func (k *link) serve() error {
	if err := k.dial(); err != nil {
		return err
	}
	requests := bufio.NewReader(k.client)
	for {
		request, err := readMessage(requests)
		if err != nil {
			return err
		}
		if err := k.p.warm(); err != nil {
			return err
		}
		silent := request.moreToCome()
		replies, err := k.exchange(request)
		if err != nil {
			return err
		}
		if err := k.p.warm(); err != nil {
			return err
		}
		if silent {
			continue
		}
		for _, reply := range replies {
			if _, err := k.client.Write(reply); err != nil {
				return err
			}
		}
	}
}

// exchange returns what the client is to be told.
func (k *link) exchange(request message) ([]message, error) {
	command, err := request.command()
	if err != nil {
		return nil, err
	}
	if f := k.p.watch.Load(); f != nil {
		(*f)(command)
	}
	if f := k.p.fault(Call{Command: command}); f.Break {
		return nil, io.EOF
	} else if f.Answer != nil {
		return []message{answer(request, f.Answer)}, nil
	}
	replies, err := k.ask(command, request)
	if err != nil {
		return nil, err
	}
	reply, _, err := replies[len(replies)-1].body()
	if err != nil {
		return nil, err
	}
	if f := k.p.fault(Call{Command: command, Reply: reply}); f.Break {
		return nil, io.EOF
	} else if f.Answer != nil {
		return []message{answer(request, f.Answer)}, nil
	}
	return replies, nil
}

// ask has the server execute a command, in its turn, and returns its replies, the
// last of which says that it is the last.
func (k *link) ask(command Command, request message) ([]message, error) {
	if k.p.cfg.OneAtATime && command.alone() {
		select {
		case k.p.turn <- struct{}{}:
		case <-k.p.ctx.Done():
			return nil, k.p.ctx.Err()
		}
		defer func() { <-k.p.turn }()
	}
	if k.p.cfg.Slow > 0 {
		slow := time.AfterFunc(k.p.cfg.Slow, func() {
			k.p.cfg.Logger.Warn("a command is not answered", "command", command.Name, "database", command.Database, "bytes", len(request), "after", k.p.cfg.Slow)
		})
		defer slow.Stop()
	}
	if _, err := k.server.Write(request.expectOneReply()); err != nil {
		return nil, err
	}
	var replies []message
	for {
		reply, err := readMessage(k.back)
		if err != nil {
			return nil, err
		}
		replies = append(replies, reply)
		if !reply.moreToCome() {
			return replies, nil
		}
	}
}
