//go:build unix

package pgtest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// Standby makes a hot standby of a cluster of our own, which must run: a copy that
// follows it and is known to it by the application_name "standby". It is a server like
// any other, which only reads until it is promoted; Stop belongs to it.
func (s *Server) Standby(ctx context.Context) (*Server, error) {
	follower := &Server{Settings: s.Settings, Local: true, bin: s.bin}
	follower.once.Do(func() { follower.err = follower.follow(ctx, s) })
	if follower.err != nil {
		follower.Stop()
		return nil, follower.err
	}
	return follower, nil
}

func (s *Server) follow(ctx context.Context, primary *Server) (err error) {
	if s.dir, err = os.MkdirTemp("", "pgtest-"); err != nil {
		return err
	}
	cred, err := account()
	if err != nil {
		return err
	}
	if cred != nil {
		if err := os.Chown(s.dir, int(cred.Uid), int(cred.Gid)); err != nil {
			return err
		}
	}
	var backup *exec.Cmd
	if backup, err = s.command("pg_basebackup", "-D", filepath.Join(s.dir, "data"), "-h", "127.0.0.1", "-p", strconv.Itoa(primary.port),
		"-U", "stabilize", "-R", "-X", "stream", "-c", "fast", "--no-sync"); err != nil {
		return err
	}
	backup.Env = append(os.Environ(), "PGPASSWORD="+Password, "PGAPPNAME=standby")
	if out, err := backup.CombinedOutput(); err != nil {
		return fmt.Errorf("pg_basebackup: %w: %s", err, bytes.TrimSpace(out))
	}
	if s.port, s.release, err = reservePort(); err != nil {
		return err
	}
	u := *primary.base
	u.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
	s.base = &u
	return s.Start()
}

// Promote makes a standby a server that writes, and returns when it is one.
func (s *Server) Promote(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.base.String())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "SELECT pg_promote(true, 60)")
	return err
}

// Both is a data source name of two servers, of which the one that writes is meant.
func Both(a, b *url.URL) *url.URL {
	u := *a
	u.Host += "," + b.Host
	q := u.Query()
	q.Set("target_session_attrs", "read-write")
	u.RawQuery = q.Encode()
	return &u
}
