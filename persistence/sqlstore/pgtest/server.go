//go:build unix

package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Env names a server to use instead of one of our own. Its user may create
// schemas in the database it names.
const Env = "STABILIZE_TEST_POSTGRES_DSN"

// Password of the user of a cluster of our own: of characters that a data source
// name must escape, and easily found in an error or a log.
const Password = `s3cr%t:/?#[]@!$&'()*+,;= "\`

// Server starts when it is first asked for and is shared by the tests of one
// binary. The zero value is ready; Stop belongs at the end of TestMain. Safe for
// concurrent use.
type Server struct {
	// Settings of the server beside those that a throw-away cluster has.
	Settings []string
	// Local asks for a cluster of our own, whatever the environment names: for tests
	// that stop it.
	Local bool

	once    sync.Once
	err     error
	base    *url.URL
	schemas atomic.Int64

	mu      sync.Mutex
	dir     string // of the cluster; empty: it is somebody else's
	bin     string
	port    int
	release func() // of the port; nil: it has none
	cmd     *exec.Cmd
	done    chan struct{} // closed when cmd has ended
}

// DSN returns a data source name of the server; the test fails if there is none.
func (s *Server) DSN(t testing.TB) string {
	t.Helper()
	return s.URL(t).String()
}

// URL is DSN in parts, for the caller to change.
func (s *Server) URL(t testing.TB) *url.URL {
	t.Helper()
	s.once.Do(func() { s.err = s.start() })
	if s.err != nil {
		t.Fatalf("a PostgreSQL server is needed, from the binaries on this machine or named by %s: %v", Env, s.err)
	}
	u := *s.base
	return &u
}

// Schema returns the name of a schema that nobody uses; it is dropped with the
// test, whoever made it.
func (s *Server) Schema(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("t%d_%d", os.Getpid(), s.schemas.Add(1))
	dsn := s.DSN(t)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		conn, err := pgx.Connect(ctx, dsn)
		if err != nil {
			t.Errorf("dropping a schema: %v", err)
			return
		}
		defer conn.Close(ctx)
		// The notices tell of each table that goes.
		if _, err := conn.Exec(ctx, "SET client_min_messages = error; DROP SCHEMA IF EXISTS "+name+" CASCADE"); err != nil {
			t.Errorf("dropping a schema: %v", err)
		}
	})
	return name
}

func (s *Server) start() error {
	if dsn := os.Getenv(Env); dsn != "" && !s.Local {
		u, err := url.Parse(dsn)
		if err != nil {
			return fmt.Errorf("%s is no URL", Env)
		}
		s.base = u
		return nil
	}
	bin, err := findBinaries()
	if err != nil {
		return err
	}
	s.bin = bin
	if s.dir, err = os.MkdirTemp("", "pgtest-"); err != nil {
		return err
	}
	if err := s.create(); err != nil {
		return errors.Join(err, os.RemoveAll(s.dir))
	}
	s.base = &url.URL{
		Scheme: "postgres", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), Path: "/postgres",
		User: url.UserPassword("stabilize", Password), RawQuery: "sslmode=disable",
	}
	return s.Start()
}

// findBinaries returns the directory of the newest server on this machine.
func findBinaries() (string, error) {
	if path, err := exec.LookPath("postgres"); err == nil {
		// Not all of its programs need be linked to from there.
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	var found []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin/postgres", "/usr/pgsql-*/bin/postgres", "/opt/homebrew/opt/postgresql@*/bin/postgres", "/usr/local/pgsql/bin/postgres"} {
		paths, _ := filepath.Glob(pattern)
		found = append(found, paths...)
	}
	if len(found) == 0 {
		return "", errors.New("no postgres binary was found")
	}
	return filepath.Dir(slices.Max(found)), nil
}

// account returns how to run the server, which refuses to be root.
func account() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			continue
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			continue
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("the server must not run as root, and there is no user to run it as")
}

func (s *Server) command(name string, args ...string) (*exec.Cmd, error) {
	cred, err := account()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(s.bin, name), args...) //nolint:gosec,noctx // the binaries found above
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred, Setpgid: true}
	return cmd, nil
}

func (s *Server) create() error {
	cred, err := account()
	if err != nil {
		return err
	}
	password := filepath.Join(s.dir, "password")
	if err := os.WriteFile(password, []byte(Password+"\n"), 0o600); err != nil {
		return err
	}
	if cred != nil {
		for _, path := range []string{s.dir, password} {
			if err := os.Chown(path, int(cred.Uid), int(cred.Gid)); err != nil {
				return err
			}
		}
	}
	initdb, err := s.command("initdb", "-D", filepath.Join(s.dir, "data"), "-U", "stabilize", "--pwfile", password,
		"-A", "md5", "-E", "UTF8", "--locale=C", "--no-sync")
	if err != nil {
		return err
	}
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, bytes.TrimSpace(out))
	}
	s.port, s.release, err = reservePort()
	return err
}

// Start starts the cluster, again after Kill, and returns when it answers.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{"-D", filepath.Join(s.dir, "data"), "-p", strconv.Itoa(s.port), "-c", "unix_socket_directories=",
		"-c", "listen_addresses=127.0.0.1", "-c", "max_connections=300", "-c", "shared_buffers=64MB",
		// A crash of the process loses nothing without it, only one of the machine.
		"-c", "fsync=off", "-c", "full_page_writes=off"}
	for _, setting := range s.Settings {
		args = append(args, "-c", setting)
	}
	cmd, err := s.command("postgres", args...)
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	s.cmd, s.done = cmd, done
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.base.String())
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-done:
			text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			return fmt.Errorf("postgres has ended: %s", bytes.TrimSpace(text))
		case <-ctx.Done():
			return fmt.Errorf("postgres does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Kill ends the cluster as a crash would.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	// An immediate shutdown ends the server's processes without a checkpoint; to
	// kill the first of them only would leave the others alive for a while.
	if err := s.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		return err
	}
	<-s.done
	return nil
}

// Freeze stops the processes that serve connections, until thaw is called: they
// are there and do not answer.
func (s *Server) Freeze() (thaw func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	pids, err := children(s.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	pids = append(pids, s.cmd.Process.Pid)
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGSTOP) // one that has ended answers nothing either
	}
	return func() {
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	}, nil
}

func children(parent int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		return nil, errors.New("the system does not tell its processes")
	}
	var pids []int
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		if len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids, nil
}

// Stop ends a cluster of our own and removes it.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(syscall.SIGQUIT)
		<-s.done
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
	if s.release != nil {
		s.release()
		s.release = nil
	}
}
