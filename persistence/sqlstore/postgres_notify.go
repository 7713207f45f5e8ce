package sqlstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// channelName is the name under which the stores of the same tables notify each
// other.
func channelName(c *Config) string {
	sum := sha256.Sum256([]byte(c.Schema + "\x00" + c.Prefix))
	return "stabilize_" + hex.EncodeToString(sum[:8])
}

// ear waits for the notifications of other stores, on a connection of its own: a
// pool of one could not spare it.
type ear struct {
	once sync.Once
	work sync.WaitGroup
}

func (e *ear) wait() { e.work.Wait() }

// listen begins to wait for notifications, once, until the store is closed.
func (p *postgres) listen(s *Store) {
	if s.cfg.TransactionPooling || s.cfg.NoListen {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Err() != nil {
		return
	}
	p.ear.once.Do(func() { p.ear.work.Go(func() { p.hear(s) }) })
}

func (p *postgres) hear(s *Store) {
	// In real time, whatever the Clock says: so does the server.
	pause := 50 * time.Millisecond
	for s.closing.Err() == nil {
		if p.hearOn(s.closing, s) {
			pause = 50 * time.Millisecond
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-s.closing.Done():
		}
		timer.Stop()
		pause = min(2*pause, 5*time.Second)
	}
}

// hearOn waits on one connection until it breaks, and reports whether there was
// one. What goes wrong is told to nobody: polling finds what is missed.
func (p *postgres) hearOn(ctx context.Context, s *Store) bool {
	config := p.config.Copy()
	config.OnNotification = nil // that of a connection tells that connection
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return false
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+p.channel); err != nil {
		return false
	}
	s.ping(true) // what came before we listened
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return true
		}
		s.ping(n.Payload != p.self)
	}
}
