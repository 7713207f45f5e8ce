package sqlstore_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// pooler gives each transaction of its clients one of a few connections to the
// server, in turn, as PgBouncer does in its mode "transaction": what a client sets,
// prepares, listens to or locks for a session is left on a connection that its next
// transaction does not have. It asks clients for no password.
type pooler struct {
	t      *testing.T
	listen net.Listener
	server string
	idle   chan *pgconn.HijackedConn // those that nobody has; nil: one is to be made

	careless bool // of what is left

	running sync.WaitGroup
	mu      sync.Mutex
	clients map[net.Conn]bool // nil: closed
}

// poolerParameters are what a client may ask for when it connects: PgBouncer refuses
// any other.
func poolerParameters() map[string]bool {
	return map[string]bool{"user": true, "database": true, "application_name": true, "client_encoding": true}
}

// newPooler makes one of so many connections to the server. At its end it sees that
// no client left anything on one.
func newPooler(t *testing.T, size int) *pooler {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed with the test
	if err != nil {
		t.Fatal(err)
	}
	p := &pooler{t: t, listen: l, server: server.DSN(t), idle: make(chan *pgconn.HijackedConn, size), clients: map[net.Conn]bool{}}
	for range size {
		p.idle <- nil
	}
	p.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			if p.clients == nil {
				_ = c.Close()
			} else {
				p.clients[c] = true
				p.running.Go(func() { p.serve(c) })
			}
			p.mu.Unlock()
		}
	})
	t.Cleanup(p.close)
	return p
}

// dsn leads to the pooler.
func (p *pooler) dsn() string {
	u := url.URL{Scheme: "postgres", User: url.User("pooled"), Host: p.listen.Addr().String(), Path: "/postgres", RawQuery: "sslmode=disable"}
	return u.String()
}

func (p *pooler) close() {
	_ = p.listen.Close()
	p.mu.Lock()
	for c := range p.clients {
		_ = c.Close()
	}
	p.clients = nil
	p.mu.Unlock()
	p.running.Wait()
	close(p.idle)
	for h := range p.idle {
		if h == nil {
			continue
		}
		if left := leftOn(p.t, h); left != "" && !p.careless {
			p.t.Errorf("on a connection of the pooler there is left: %s", left)
		}
	}
}

// leftOn tells what a connection keeps of those who had it, and closes it.
func leftOn(t *testing.T, h *pgconn.HijackedConn) (left string) {
	ctx := context.WithoutCancel(t.Context())
	c, err := pgconn.Construct(h)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer func() { _ = c.Close(ctx) }()
	rows, err := c.Exec(ctx, `SELECT 'statement ' || name FROM pg_prepared_statements
		UNION ALL SELECT 'channel ' || pg_listening_channels()
		UNION ALL SELECT 'lock ' || objid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
		UNION ALL SELECT 'setting ' || name FROM pg_settings WHERE source = 'session'
		UNION ALL SELECT 'table ' || relname FROM pg_class WHERE relpersistence = 't'`).ReadAll()
	if err != nil {
		t.Error(err)
		return ""
	}
	var all []string
	for _, row := range rows[0].Rows {
		all = append(all, string(row[0]))
	}
	return strings.Join(all, ", ")
}

// take waits for a connection to the server.
func (p *pooler) take() (*pgconn.HijackedConn, error) {
	if h := <-p.idle; h != nil {
		return h, nil
	}
	config, err := pgconn.ParseConfig(p.server)
	if err == nil {
		var c *pgconn.PgConn
		if c, err = pgconn.ConnectConfig(context.WithoutCancel(p.t.Context()), config); err == nil {
			return c.Hijack()
		}
	}
	p.idle <- nil
	return nil, err
}

// drop ends a connection that is in the middle of something. The server has rolled
// back when it returns.
func (p *pooler) drop(h *pgconn.HijackedConn) {
	h.Frontend.Send(&pgproto3.Terminate{})
	err := h.Frontend.Flush()
	for err == nil {
		_, err = h.Frontend.Receive()
	}
	_ = h.Conn.Close()
	p.idle <- nil
}

func (p *pooler) serve(c net.Conn) {
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		_ = c.Close()
		delete(p.clients, c)
	}()
	client := pgproto3.NewBackend(c, c)
	if p.greet(c, client) != nil {
		return
	}
	var h *pgconn.HijackedConn // while a transaction has it
	defer func() {
		if h != nil {
			p.drop(h)
		}
	}()
	for {
		m, err := client.Receive()
		if err != nil {
			return
		}
		if _, ends := m.(*pgproto3.Terminate); ends {
			return
		}
		if h == nil {
			if h, err = p.take(); err != nil {
				return
			}
		}
		h.Frontend.Send(m)
		switch m.(type) {
		case *pgproto3.Query, *pgproto3.Sync:
		default:
			continue
		}
		status, err := answer(client, h)
		if err != nil {
			return
		}
		if status == 'I' {
			h.TxStatus = status
			p.idle <- h
			h = nil
		}
		if client.Flush() != nil {
			return
		}
	}
}

// greet lets a client in.
func (p *pooler) greet(c net.Conn, client *pgproto3.Backend) error {
	for {
		m, err := client.ReceiveStartupMessage()
		if err != nil {
			return err
		}
		startup, ok := m.(*pgproto3.StartupMessage)
		if !ok {
			if _, ok := m.(*pgproto3.CancelRequest); ok {
				return errors.New("nothing is canceled")
			}
			if _, err := c.Write([]byte("N")); err != nil { // no encryption
				return err
			}
			continue
		}
		for name := range startup.Parameters {
			if !poolerParameters()[name] {
				client.Send(&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "08P01", Message: "unsupported startup parameter: " + name})
				return errors.Join(client.Flush(), errors.New("refused"))
			}
		}
		client.Send(&pgproto3.AuthenticationOk{})
		for name, value := range map[string]string{"client_encoding": "UTF8", "standard_conforming_strings": "on", "server_version": "15.0"} {
			client.Send(&pgproto3.ParameterStatus{Name: name, Value: value})
		}
		client.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{0, 0, 0, 1}})
		client.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		return client.Flush()
	}
}

// answer carries an answer to its end, and returns how the connection is then.
func answer(client *pgproto3.Backend, h *pgconn.HijackedConn) (status byte, err error) {
	if err := h.Frontend.Flush(); err != nil {
		return 0, err
	}
	for {
		m, err := h.Frontend.Receive()
		if err != nil {
			return 0, err
		}
		client.Send(m)
		if ready, ok := m.(*pgproto3.ReadyForQuery); ok {
			return ready.TxStatus, nil
		}
	}
}

// What is set for a session is not there in the next transaction, and is found.
func TestPostgresPoolerTakesSessions(t *testing.T) {
	p := newPooler(t, 2)
	conn, err := pgx.Connect(t.Context(), p.dsn()+"&default_query_exec_mode=exec")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	if _, err := conn.Exec(t.Context(), "SET lock_timeout = 7"); err != nil {
		t.Fatal(err)
	}
	var value string
	seen := map[string]bool{}
	for range 2 {
		if err := conn.QueryRow(t.Context(), "SHOW lock_timeout").Scan(&value); err != nil {
			t.Fatal(err)
		}
		seen[value] = true
	}
	if len(seen) != 2 {
		t.Errorf("the setting is %v in two transactions", seen)
	}
	left := ""
	for range 2 {
		left += leftOn(t, <-p.idle)
		p.idle <- nil
	}
	if left != "setting lock_timeout" {
		t.Errorf("left on the connections there is %q", left)
	}
	if _, err := pgx.Connect(t.Context(), p.dsn()+"&search_path=x"); err == nil {
		t.Error("a setting at the connection's start was taken")
	}
}
