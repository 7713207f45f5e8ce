//go:build unix

package mongotest_test

import (
	"bufio"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest"
)

// child says which of the processes below this one is.
const child = "MONGOTEST_CHILD"

// A server ends with the process that started it, also when that is killed, and its
// directory goes.
func TestServersEndWithTheProcess(t *testing.T) {
	if os.Getenv(child) == "owner" {
		own := &mongotest.Servers{}
		own.Each(t, func(t *testing.T, s *mongotest.Server) { _, _ = os.Stdout.WriteString("serving " + s.URI(t) + "\n") })
		_, _ = io.Copy(io.Discard, os.Stdin) // until somebody ends us
		return
	}
	for name, c := range map[string]struct {
		env     []string
		servers int
	}{
		"ferretdb": {[]string{mongotest.Env + "=ferretdb:"}, 1},
		"mongod":   {[]string{mongotest.Env + "=", "PATH=" + fakeMongod(t) + string(filepath.ListSeparator) + os.Getenv("PATH")}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			tmp := t.TempDir()
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(self, "-test.run=^"+strings.Split(t.Name(), "/")[0]+"$")
			cmd.Env = append(append(os.Environ(), child+"=owner", "TMPDIR="+tmp), c.env...)
			cmd.Stderr = t.Output()
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			defer stdin.Close()
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var open []net.Conn
			lines := bufio.NewScanner(stdout)
			for len(open) < c.servers && lines.Scan() {
				if uri, ok := strings.CutPrefix(lines.Text(), "serving "); ok {
					open = append(open, dial(t, uri))
				}
			}
			if len(open) < c.servers {
				t.Errorf("only %d of %d servers started", len(open), c.servers)
			}
			left, err := os.ReadDir(tmp)
			if err != nil || len(left) == 0 {
				t.Errorf("the servers keep nothing in the temporary directory, %v", err)
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			for _, conn := range open {
				_, _ = io.Copy(io.Discard, conn) // until the server's end of it ends
			}
			for { // soon after that
				left, err := os.ReadDir(tmp)
				if err != nil {
					t.Fatal(err)
				}
				if len(left) == 0 {
					break
				}
				<-time.After(5 * time.Millisecond)
			}
		})
	}
}

func dial(t *testing.T, uri string) net.Conn {
	t.Helper()
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
