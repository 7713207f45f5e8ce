package mongoproxy

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Commands that expect no reply get none, and the next gets its own. All are sent as
// commands with one reply: the server of these tests refuses others.
func TestProxyOneReply(t *testing.T) {
	s := newServer(t, nil)
	c := connect(t, before(t, s, oneAtATime))
	for id := range uint32(20) {
		if id%2 == 0 {
			c.send(msg(id, flagMoreToCome, named("insert")))
			continue
		}
		c.send(msg(id, flagExhaustAllowed|flagChecksum, named("getMore")))
		c.receive(id)
	}
	c.send(query(99, "admin.$cmd", named("isMaster")))
	c.receive(99)
	if got := s.commands(); len(got) != 42 {
		t.Errorf("the server executed %v", got)
	}
}

// A server that sends several replies is heard to the last.
func TestProxyManyReplies(t *testing.T) {
	s := newServer(t, func(request message) []message {
		part := answer(request, ok())
		part[headerLength] = flagMoreToCome
		return []message{part, part, answer(request, ok())}
	})
	c := connect(t, before(t, s, oneAtATime))
	for id := range uint32(3) {
		c.send(msg(id, 0, named("find")))
		for range 3 {
			c.receive(id)
		}
	}
}

// load is 8 clients with 50 commands each.
func load(t *testing.T, p *Proxy, name string) {
	t.Helper()
	var all sync.WaitGroup
	for range 8 {
		c := connect(t, p)
		all.Go(func() {
			for id := range uint32(50) {
				c.send(msg(id, 0, named(name)))
				c.receive(id)
			}
		})
	}
	all.Wait()
}

func TestProxyOneAtATime(t *testing.T) {
	var active atomic.Int32
	s := newServer(t, func(request message) []message {
		if n := active.Add(1); n > 1 {
			t.Errorf("%d commands at once", n)
		}
		defer active.Add(-1)
		return []message{answer(request, ok())}
	})
	load(t, before(t, s, oneAtATime), "update")
	if n := len(s.commands()); n != 800 {
		t.Errorf("%d commands began or ended", n)
	}
}

// Without being told to, nobody waits for another: two commands meet in the server.
// hello, ping and getMore always do.
func TestProxyAtOnce(t *testing.T) {
	for name, change := range map[string]func(*Config){"update": func(*Config) {}, "hello": oneAtATime, "isMaster": oneAtATime, "ping": oneAtATime, "getMore": oneAtATime} {
		t.Run(name, func(t *testing.T) {
			meet := make(chan struct{})
			s := newServer(t, func(request message) []message {
				select {
				case meet <- struct{}{}:
				case <-meet:
				}
				return []message{answer(request, ok())}
			})
			p := before(t, s, change)
			a, b := connect(t, p), connect(t, p)
			a.send(msg(1, 0, named(name)))
			b.send(msg(2, 0, named(name)))
			a.receive(1)
			b.receive(2)
		})
	}
}

// holding answers pings at once and holds other commands until they may go, one for
// each value; arrived tells of each.
func holding(t *testing.T) (s *server, arrived, release chan struct{}) {
	arrived, release = make(chan struct{}, 16), make(chan struct{}, 16)
	s = newServer(t, func(request message) []message {
		if c, _ := request.command(); c.Name != "ping" {
			arrived <- struct{}{}
			<-release
		}
		return []message{answer(request, ok())}
	})
	t.Cleanup(func() { close(release) })
	return s, arrived, release
}

// A client that goes away in the middle of its command does not let the next begin
// before the server is done with it.
func TestProxyClientGoesAway(t *testing.T) {
	s, arrived, release := holding(t)
	p := before(t, s, oneAtATime)
	watched := make(chan struct{}, 16)
	p.Watch(func(c Command) {
		if c.Name != "ping" {
			watched <- struct{}{}
		}
	})
	gone, next, other := connect(t, p), connect(t, p), connect(t, p)
	gone.send(msg(1, 0, named("update")))
	<-arrived
	<-watched
	_ = gone.Close()
	next.send(msg(2, 0, named("delete")))
	<-watched
	other.send(msg(3, 0, named("ping")))
	other.receive(3)
	release <- struct{}{}
	<-arrived
	release <- struct{}{}
	next.receive(2)
	got := slices.DeleteFunc(s.commands(), func(c string) bool { return strings.HasSuffix(c, "ping") })
	if want := []string{"update", "/update", "delete", "/delete"}; !slices.Equal(got, want) {
		t.Errorf("the server executed %v, want %v", got, want)
	}
	// Half a message is no command.
	half := connect(t, p)
	half.send(msg(4, 0, named("update"))[:20])
	_ = half.Close()
	p.Break() // waits for it
	if n := len(s.commands()); n != 6 {
		t.Errorf("the server executed %v", s.commands())
	}
}

// What is no message ends the connection, with a word about it, and no other.
func TestProxyGivesUp(t *testing.T) {
	warned := make(warnings, 16)
	s := newServer(t, nil)
	p := before(t, s, func(c *Config) { c.Logger = slog.New(warned) })
	good, bad := connect(t, p), connect(t, p)
	bad.send(message("GET / HTTP/1.1\r\n\r\n"))
	bad.ended()
	if text := <-warned; !strings.Contains(text, errFraming.Error()) {
		t.Errorf("the log says %s", text)
	}
	good.send(msg(1, 0, named("ping")))
	good.receive(1)
	_ = good.Close()
	p.Break()
	select {
	case text := <-warned:
		t.Errorf("of a client that has gone the log says %s", text)
	default:
	}
	nobody := before(t, &server{addr: "127.0.0.1:1"}, func(c *Config) { c.Logger = slog.New(warned) })
	connect(t, nobody).ended()
	if text := <-warned; !strings.Contains(text, "dial") {
		t.Errorf("the log says %s", text)
	}
}

// warnings are what a logger was told.
type warnings chan string

func (w warnings) Enabled(context.Context, slog.Level) bool { return true }
func (w warnings) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w warnings) WithGroup(string) slog.Handler            { return w }
func (w warnings) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += " " + a.String()
		return true
	})
	w <- text
	return nil
}

func TestProxySlow(t *testing.T) {
	s, arrived, release := holding(t)
	warned := make(warnings, 16)
	c := connect(t, before(t, s, func(c *Config) { c.Slow, c.Logger = time.Millisecond, slog.New(warned) }))
	c.send(msg(1, 0, named("update")))
	<-arrived
	if text := <-warned; !strings.Contains(text, "command=update") {
		t.Errorf("the log says %s", text)
	}
	release <- struct{}{}
	c.receive(1)
}

func TestProxyWatch(t *testing.T) {
	p := before(t, newServer(t, nil))
	var seen []string
	p.Watch(func(c Command) { seen = append(seen, c.Name+" "+c.Database+" "+c.Body.Lookup(c.Name).StringValue()) })
	c := connect(t, p)
	c.send(msg(1, flagMoreToCome, named("insert")))
	c.send(msg(2, 0, named("hello")))
	c.receive(2)
	p.Watch(nil)
	c.send(msg(3, 0, named("find")))
	c.receive(3)
	if want := []string{"insert db c", "hello db c"}; !slices.Equal(seen, want) {
		t.Errorf("saw %q", seen)
	}
}

// A fault befalls a command before it is sent or when it was executed.
func TestProxyFaults(t *testing.T) {
	stepped := Error(NotWritablePrimary, "not primary", LabelRetryable)
	for name, c := range map[string]struct {
		executed bool
		fault    Fault
	}{
		"broken before":   {false, Fault{Break: true}},
		"broken after":    {true, Fault{Break: true}},
		"answered before": {false, Fault{Answer: stepped}},
		"answered after":  {true, Fault{Answer: stepped}},
	} {
		for form, request := range map[string]message{"OP_MSG": msg(1, 0, named("update")), "OP_QUERY": query(1, "db.$cmd", named("update"))} {
			t.Run(name+", "+form, func(t *testing.T) {
				s := newServer(t, nil)
				p := before(t, s, oneAtATime)
				p.Intercept(func(call Call) Fault {
					if call.Executed() != (call.Reply != nil) || call.Name != "update" {
						t.Errorf("asked of %+v", call)
					}
					if call.Executed() == c.executed {
						return c.fault
					}
					return Fault{}
				})
				conn := connect(t, p)
				conn.send(request)
				if c.fault.Break {
					conn.ended()
				} else if got := conn.receive(1); got.Lookup("code").AsInt64() != NotWritablePrimary || got.Lookup("codeName").StringValue() != "NotWritablePrimary" {
					t.Errorf("answered %v", got)
				}
				if n := len(s.commands()); (n == 2) != c.executed {
					t.Errorf("the server executed %v", s.commands())
				}
				p.Intercept(nil)
				conn = connect(t, p)
				conn.send(request)
				conn.receive(1)
			})
		}
	}
}

// An interceptor that waits makes the command wait, and no other.
func TestProxyDelay(t *testing.T) {
	p := before(t, newServer(t, nil), oneAtATime)
	asked, proceed := make(chan bool, 2), make(chan struct{})
	p.Intercept(func(c Call) Fault {
		if c.Name == "update" {
			asked <- c.Executed()
			<-proceed
		}
		return Fault{}
	})
	slow, other := connect(t, p), connect(t, p)
	slow.send(msg(1, 0, named("update")))
	for _, executed := range []bool{false, true} {
		if got := <-asked; got != executed {
			t.Errorf("executed: %v, want %v", got, executed)
		}
		other.send(msg(2, 0, named("delete")))
		other.receive(2)
		proceed <- struct{}{}
	}
	slow.receive(1)
}

// silent fails if something comes before the deadline.
func (c client) silent() {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Errorf("a frozen proxy sends, or ends the connection: %v", err)
	}
	_ = c.SetReadDeadline(time.Time{})
}

func TestProxyFreeze(t *testing.T) {
	s, arrived, release := holding(t)
	p := before(t, s)
	waiting, idle := connect(t, p), connect(t, p)
	waiting.send(msg(1, 0, named("update")))
	<-arrived
	thaw := p.Freeze()
	p.Freeze()() // does nothing
	release <- struct{}{}
	idle.send(msg(2, 0, named("ping")))
	late := connect(t, p)
	late.send(msg(3, 0, named("hello")))
	for _, c := range []client{waiting, idle, late} {
		c.silent()
	}
	if got := s.commands(); len(got) > 2 {
		t.Errorf("the server was sent %v", got)
	}
	thaw()
	thaw()
	waiting.receive(1)
	idle.receive(2)
	release <- struct{}{}
	late.receive(3)
	p.Freeze()()
	idle.send(msg(4, 0, named("ping")))
	idle.receive(4)
}

// Break waits for what the server was sent; Close for nothing.
func TestProxyBreakAndClose(t *testing.T) {
	s, arrived, release := holding(t)
	p := before(t, s, oneAtATime)
	busy, idle := connect(t, p), connect(t, p)
	idle.send(msg(1, 0, named("ping")))
	idle.receive(1)
	busy.send(msg(2, 0, named("update")))
	<-arrived
	broken := make(chan struct{})
	go func() {
		p.Break()
		close(broken)
	}()
	idle.ended()
	busy.ended()
	select {
	case <-broken:
		t.Error("Break did not wait for the server")
	default:
	}
	release <- struct{}{}
	<-broken
	if got := s.commands(); got[len(got)-1] != "/update" {
		t.Errorf("after Break: %v", got)
	}
	hung, queued, frozen := connect(t, p), connect(t, p), connect(t, p)
	hung.send(msg(3, 0, named("update")))
	<-arrived
	queued.send(msg(4, 0, named("update")))
	defer p.Freeze()()
	frozen.send(msg(5, 0, named("ping")))
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	for _, c := range []client{hung, queued, frozen} {
		c.ended()
	}
	if _, err := net.Dial("tcp", p.Addr()); err == nil {
		t.Error("a closed proxy listens")
	}
}

func TestStartRefuses(t *testing.T) {
	if _, err := Start(Config{}); err == nil {
		t.Error("started without a server")
	}
}

func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		got  bson.Raw
		want string
	}{
		"error":         {Error(PrimarySteppedDown, "x", LabelRetryable), `{"ok": {"$numberDouble":"0.0"},"errmsg": "x","code": {"$numberInt":"189"},"codeName": "PrimarySteppedDown","errorLabels": ["RetryableWriteError"]}`},
		"unknown code":  {Error(4711, "x"), `{"ok": {"$numberDouble":"0.0"},"errmsg": "x","code": {"$numberInt":"4711"}}`},
		"write concern": {WriteConcernError(1, 64, "x"), `{"ok": {"$numberDouble":"1.0"},"n": {"$numberInt":"1"},"nModified": {"$numberInt":"1"},"writeConcernError": {"code": {"$numberInt":"64"},"errmsg": "x","codeName": "WriteConcernTimeout"}}`},
		"write":         {WriteError(11000, "x"), `{"ok": {"$numberDouble":"1.0"},"n": {"$numberInt":"0"},"nModified": {"$numberInt":"0"},"writeErrors": [{"index": {"$numberInt":"0"},"code": {"$numberInt":"11000"},"errmsg": "x"}]}`},
	} {
		if got := c.got.String(); strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(c.want, " ", "") {
			t.Errorf("%s: %s", name, got)
		}
	}
}
