package mongoproxy

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// msg makes an OP_MSG; sections other than the body stand before it.
func msg(id, flags uint32, body bson.D, before ...byte) message {
	m := make(message, headerLength)
	binary.LittleEndian.PutUint32(m[4:], id)
	binary.LittleEndian.PutUint32(m[12:], opMsg)
	m = binary.LittleEndian.AppendUint32(m, flags)
	m = append(append(append(m, before...), sectionBody), marshal(body)...)
	if flags&flagChecksum != 0 {
		m = append(m, 1, 2, 3, 4)
	}
	return closeDocument(m, 0)
}

// query makes an OP_QUERY.
func query(id uint32, collection string, body bson.D) message {
	m := make(message, headerLength+4)
	binary.LittleEndian.PutUint32(m[4:], id)
	binary.LittleEndian.PutUint32(m[12:], opQuery)
	m = append(append(m, collection...), 0)
	m = append(m, make([]byte, 8)...)
	return closeDocument(append(m, marshal(body)...), 0)
}

func named(name string) bson.D {
	return bson.D{{Key: name, Value: "c"}, {Key: "$db", Value: "db"}}
}

func ok() bson.Raw { return marshal(bson.D{{Key: "ok", Value: 1}}) }

// server is one that answers as it is told.
type server struct {
	addr string
	// handle returns the replies to a request; requests of several connections are
	// handled at once.
	handle func(request message) []message

	mu   sync.Mutex
	seen []string // names of the commands, when they begin and with "/" before when they end
}

func newServer(t *testing.T, handle func(message) []message) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: l.Addr().String(), handle: handle}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { s.serve(t, c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		conns.Wait()
	})
	return s
}

func (s *server) serve(t *testing.T, c net.Conn) {
	defer c.Close()
	for {
		request, err := readMessage(c)
		if err != nil {
			return
		}
		if request.flags()&(flagMoreToCome|flagExhaustAllowed|flagChecksum) != 0 {
			t.Errorf("the server was sent flags %x", request.flags())
		}
		command, err := request.command()
		if err != nil {
			t.Errorf("the server was sent %v", err)
			return
		}
		s.log(command.Name)
		replies := []message{answer(request, ok())}
		if s.handle != nil {
			replies = s.handle(request)
		}
		s.log("/" + command.Name)
		for _, reply := range replies {
			if _, err := c.Write(reply); err != nil {
				return
			}
		}
	}
}

func (s *server) log(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, what)
}

func (s *server) commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// before starts a proxy before the server, which ends with the test, before the
// server does.
func before(t *testing.T, s *server, change ...func(*Config)) *Proxy {
	t.Helper()
	cfg := Config{Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", s.addr)
	}}
	for _, f := range change {
		f(&cfg)
	}
	p, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func oneAtATime(c *Config) { c.OneAtATime = true }

// client is a connection to a proxy.
type client struct {
	net.Conn

	t *testing.T
}

func connect(t *testing.T, p *Proxy) client {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return client{c, t}
}

func (c client) send(m message) {
	c.t.Helper()
	if _, err := c.Write(m); err != nil {
		c.t.Error(err)
	}
}

// receive returns the document of the reply to the request of that id.
func (c client) receive(id uint32) bson.Raw {
	c.t.Helper()
	m, err := readMessage(c)
	if err != nil {
		c.t.Errorf("no reply to %d: %v", id, err)
		return nil
	}
	if to := binary.LittleEndian.Uint32(m[8:]); to != id {
		c.t.Errorf("a reply to %d where one to %d belongs", to, id)
	}
	doc, _, err := m.body()
	if err != nil {
		c.t.Error(err)
	}
	return doc
}

// ended waits for the end of the connection.
func (c client) ended() {
	c.t.Helper()
	if m, err := readMessage(c); !errors.Is(err, io.EOF) {
		var op *net.OpError
		if !errors.As(err, &op) {
			c.t.Errorf("the connection goes on: %v, %v", m, err)
		}
	}
}
