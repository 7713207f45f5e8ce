package sqlharness

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
)

// tap is a connection that is listened to. It knows of PostgreSQL's protocol where a
// call begins and where its reply ends.
type tap struct {
	w              *wire
	client, server net.Conn
	drop           func()
	ended          chan struct{} // closed when the server has hung up

	mu     sync.Mutex
	calls  []bool        // under way, oldest first: is it asked for
	idle   chan struct{} // closed while there are none
	broken bool
}

// Types of messages that mean something here.
const (
	typeStartup   = 0 // has none
	typeQuery     = 'Q'
	typeSync      = 'S'
	typePassword  = 'p'
	typeTerminate = 'X'

	typeRow      = 'D'
	typeComplete = 'C'
	typeReady    = 'Z'
)

// up carries what the client says.
func (t *tap) up() {
	defer t.drop()
	from := bufio.NewReaderSize(t.client, 64<<10)
	to := bufio.NewWriterSize(t.server, 64<<10)
	within := false // a call
	for first := true; ; first = false {
		m, kind, err := readMessage(from, first)
		if err != nil {
			return
		}
		t.w.thawed()
		if !within && kind != typePassword && kind != typeTerminate {
			within = true
			if asked := !unasked(kind, m); t.begin(asked) && t.w.ask(false) {
				t.breakOff(kind != typeStartup)
				return
			}
		}
		if kind == typeStartup || kind == typeQuery || kind == typeSync {
			within = false
		}
		if _, err := to.Write(m); err != nil {
			return
		}
		if !within || from.Buffered() == 0 {
			if err := to.Flush(); err != nil {
				return
			}
		}
	}
}

// unasked are what nobody decided on: ending a transaction that failed, and the
// driver's looking whether a connection is alive.
func unasked(kind byte, m []byte) bool {
	if kind != typeQuery {
		return false
	}
	text := strings.ToLower(string(m[5:min(len(m), 13)]))
	return strings.HasPrefix(text, "rollback") || strings.HasPrefix(text, "-- ping")
}

// down carries what the server says. A reply is held back until it is known not to
// be lost.
func (t *tap) down() {
	defer t.drop()
	defer close(t.ended)
	defer t.end()
	from := bufio.NewReaderSize(t.server, 64<<10)
	var held []byte
	starting, rows := true, 0
	for {
		m, kind, err := readMessage(from, false)
		if err != nil {
			_, _ = t.client.Write(held)
			return
		}
		t.w.thawed()
		under, asked := t.current()
		last := kind == typeReady
		switch kind {
		case typeRow:
			rows++
		case typeComplete:
			rows = 0
		}
		if kind == typeRow && rows > 1 {
			if _, err := t.client.Write(held); err != nil {
				return
			}
			held = held[:0]
		}
		if asked && (last || rows > 1) && t.w.ask(true) {
			t.spoil()
			_, _ = t.server.Write(terminate())
			discard(from)
			return
		}
		held = append(held, m...)
		if last {
			t.finish()
			starting, rows = false, 0
		}
		if last || starting || !under {
			if _, err := t.client.Write(held); err != nil {
				return
			}
			held = held[:0]
		}
	}
}

// breakOff ends both sides. The server has rolled back when it returns.
func (t *tap) breakOff(known bool) {
	t.spoil()
	if known {
		_, _ = t.server.Write(terminate())
	} else {
		_ = t.server.Close() // it was told nothing yet
	}
	<-t.ended
}

func (t *tap) spoil() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.broken = true
}

// begin notes a call and returns asked.
func (t *tap) begin(asked bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.calls) == 0 {
		t.idle = make(chan struct{})
	}
	t.calls = append(t.calls, asked)
	return asked
}

// current returns whether a call is under way, and is asked for. Of a connection
// that is broken nothing is.
func (t *tap) current() (under, asked bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.calls) > 0, len(t.calls) > 0 && t.calls[0] && !t.broken
}

func (t *tap) finish() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.calls) == 0 {
		return
	}
	if t.calls = t.calls[1:]; len(t.calls) == 0 {
		close(t.idle)
	}
}

func (t *tap) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.calls) > 0 {
		t.calls = nil
		close(t.idle)
	}
}

// tapped is the client's end.
type tapped struct {
	net.Conn

	t *tap
}

// RemoteAddr implements net.Conn: a call is canceled past the wire.
func (c *tapped) RemoteAddr() net.Addr { return c.t.server.RemoteAddr() }

// Read implements net.Conn. Who loses patience is told when the server is done with
// what it was sent: only then is it known what became of it.
func (c *tapped) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) && !c.t.w.isFrozen() {
		c.t.mu.Lock()
		idle := c.t.idle
		c.t.mu.Unlock()
		<-idle
	}
	return n, err
}

func terminate() []byte { return []byte{typeTerminate, 0, 0, 0, 4} }

// readMessage reads a message with its head; the first that a client sends has no
// type.
func readMessage(r *bufio.Reader, first bool) (m []byte, kind byte, err error) {
	head := 5
	if first {
		head = 4
	}
	m = make([]byte, head, 64)
	if _, err := io.ReadFull(r, m); err != nil {
		return nil, 0, err
	}
	size := int(binary.BigEndian.Uint32(m[head-4:])) - 4
	if size < 0 || size > 1<<30 {
		return nil, 0, errors.New("this is not PostgreSQL's protocol")
	}
	m = append(m, make([]byte, size)...)
	if _, err := io.ReadFull(r, m[head:]); err != nil {
		return nil, 0, err
	}
	if !first {
		kind = m[0]
	}
	return m, kind, nil
}
