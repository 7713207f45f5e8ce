package sqlstore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// findChannel finds the name under which the stores of the same tables notify each
// other, and lock the keys of limits: of the schema that the tables are in, by
// whatever way they are found.
func (p *postgres) findChannel(ctx context.Context, s *Store) error {
	var schema string
	err := s.r.DB.QueryRowContext(ctx, `SELECT coalesce(
		(SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1::text)),
		nullif($2::text, ''), current_schema(), '')`, s.cfg.qualifier()+s.cfg.Prefix+"workflows", s.cfg.Schema).Scan(&schema)
	sum := sha256.Sum256([]byte(schema + "\x00" + s.cfg.Prefix))
	p.channel = "stabilize_" + hex.EncodeToString(sum[:8])
	return err
}

// notify tells other stores, when the transaction commits, that a message may have
// become claimable.
func (t *wtx) notify(claimable bool) error {
	if t.pg == nil || !claimable {
		return nil
	}
	_, err := t.Tx.Tx.ExecContext(t.ctx, "SELECT pg_notify($1::text, $2::text)", t.pg.channel, t.self)
	return err
}

// listen begins to wait for the notifications of other stores, once, until the
// store is closed: on a connection of its own, a pool of one could not spare it.
func (p *postgres) listen(s *Store) {
	if s.cfg.TransactionPooling || s.cfg.NoListen {
		return
	}
	p.ear.Do(func() {
		ctx, leave, err := s.gate.Enter(context.Background())
		if err != nil {
			return // closed
		}
		go func() {
			defer leave()
			p.hear(ctx, s)
		}()
	})
}

func (p *postgres) hear(ctx context.Context, s *Store) {
	// In real time, whatever the Clock says: so does the server.
	pause := 50 * time.Millisecond
	config := p.config
	for ctx.Err() == nil {
		if p.hearOn(ctx, s, config) {
			pause = 50 * time.Millisecond
		} else {
			config = s.newestConfig(ctx, config)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		pause = min(2*pause, 5*time.Second)
	}
}

// hearOn waits on one connection until it breaks, and reports whether there was
// one. What goes wrong is told to nobody: polling finds what is missed.
func (p *postgres) hearOn(ctx context.Context, s *Store, config *pgx.ConnConfig) bool {
	config = config.Copy()
	config.OnNotification = nil // that of a connection tells that connection
	if p.before != nil {
		if err := p.before(ctx, config); err != nil {
			return false
		}
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return false
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	// The last statement of a connection, which others may see, does not name the ear.
	ear := strings.ToLower(rand.Text())
	own := p.channel + "_" + ear
	for _, text := range []string{"LISTEN " + p.channel, "LISTEN " + own} {
		if _, err := conn.Exec(ctx, text); err != nil {
			return false
		}
	}
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock(hashtextextended($1::text, 0))", ear); err != nil {
		return false
	}
	if _, err := conn.Exec(ctx, "SELECT 1"); err != nil {
		return false
	}
	ctx, deaf := context.WithCancel(ctx)
	defer deaf()
	p.hands.listen(ear, deaf)
	defer p.hands.listen("", nil)
	go func() { _ = s.write(ctx, "listen", (*wtx).tellEcho) }() // it may have to wait for a connection
	s.ping(true)                                                // what came before we listened
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return true
		}
		switch n.Channel {
		case p.channel:
			s.ping(n.Payload != p.self)
		case own: // through a careless pooler comes what was for an ear we had before, and proves nothing
			s.hearAlone(ctx, n.Payload)
		}
	}
}

// newestConfig is that of a connection of the database that we were given, which may
// have got another password by now; else the one before.
func (s *Store) newestConfig(ctx context.Context, config *pgx.ConnConfig) *pgx.ConnConfig {
	if s.cfg.DB == nil && s.cfg.Bun == nil {
		return config
	}
	conn, err := s.w.DB.Conn(ctx)
	if err != nil {
		return config
	}
	defer conn.Close()
	if err := conn.PingContext(ctx); err != nil {
		return config // it is old, and gone now
	}
	_ = raw(conn, func(c *pgx.Conn) error {
		config = c.Config()
		return nil
	})
	return config
}
