package mongotest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

var errStopped = errors.New("the servers were stopped")

// process is a child that lives as long as its standard input is open: it ends with
// this process, however that ends.
type process struct {
	stdin io.Closer
	last  *tail
	done  chan struct{} // closed when it has ended
}

// launch starts a child. What it says goes to out and is kept for errors.
func launch(cmd *exec.Cmd, out io.Writer) (*process, error) {
	p := &process{last: &tail{}, done: make(chan struct{})}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.stdin = stdin
	cmd.Stdout, cmd.Stderr = p.last, p.last
	if out != nil {
		cmd.Stdout = out
	}
	// An interrupt from the terminal is for the tests: the child ends when they do.
	cmd.SysProcAttr = apart()
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// stop ends the process, if there is one, and waits for its end.
func (p *process) stop() {
	if p != nil {
		_ = p.stdin.Close()
		<-p.done
	}
}

// explain adds what the process said last, if it has ended.
func (p *process) explain(err error) error {
	if p == nil {
		return err
	}
	select {
	case <-p.done:
		return fmt.Errorf("the server has ended: %s", p.last)
	default:
		return err
	}
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(b []byte) (int, error) {
	const limit = 4 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	t.text = t.text[max(0, len(t.text)-limit):]
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.text))
}

// supervisor runs its arguments until they end or its standard input does, and
// removes the directory then. It must say nothing: nobody may be there to hear it.
const supervisor = `
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
{ cat >/dev/null; kill -9 $server; } <&3 3<&- >/dev/null 2>&1 &
watch=$!
exec 3<&- >/dev/null 2>&1
wait $server
kill $watch 2>/dev/null
rm -rf "$MONGOTEST_DIR"
`

// supervise starts a program that knows nothing of its standard input.
func supervise(dir, program string, args ...string) (*process, error) {
	cmd := exec.Command("/bin/sh", append([]string{"-c", supervisor, "sh", program}, args...)...) //nolint:gosec,noctx // a program of the caller's
	cmd.Env = append(os.Environ(), "MONGOTEST_DIR="+dir)
	return launch(cmd, nil)
}

// startMongod starts a server of its own on a free port, in a directory that goes
// with it: standalone, or the only member of the replica set of that name.
func startMongod(program, replicaSet string) (*process, string, error) {
	dir, err := os.MkdirTemp("", "mongotest-mongod-")
	if err != nil {
		return nil, "", err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // only to find a port
	if err != nil {
		return nil, "", errors.Join(err, os.RemoveAll(dir))
	}
	host, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	args := []string{"--dbpath", dir, "--bind_ip", host, "--port", port, "--nounixsocket", "--quiet", "--wiredTigerCacheSizeGB", "0.25"}
	if replicaSet != "" {
		args = append(args, "--replSet", replicaSet)
	}
	p, err := supervise(dir, program, args...)
	if err != nil {
		return nil, "", errors.Join(err, os.RemoveAll(dir))
	}
	uri := "mongodb://" + net.JoinHostPort(host, port) + "/"
	if replicaSet == "" {
		return p, uri, nil
	}
	if err := initiate(p, uri, replicaSet, net.JoinHostPort(host, port)); err != nil {
		p.stop()
		return nil, "", err
	}
	return p, uri + "?replicaSet=" + replicaSet, nil
}

// initiate makes a server, which must answer, a replica set.
func initiate(p *process, uri, name, host string) error {
	direct := uri + "?directConnection=true"
	if err := answers(p, direct); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client, err := mongo.Connect(options.Client().ApplyURI(direct))
	if err != nil {
		return err
	}
	defer func() { _ = client.Disconnect(context.WithoutCancel(ctx)) }()
	config := bson.D{{Key: "_id", Value: name}, {Key: "members", Value: bson.A{bson.D{{Key: "_id", Value: 0}, {Key: "host", Value: host}}}}}
	return p.explain(client.Database("admin").RunCommand(ctx, bson.D{{Key: "replSetInitiate", Value: config}}).Err())
}

// startFerret builds and starts the program in the folder ferret.
func startFerret() (*process, string, error) {
	const self = "github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest"
	out, err := exec.Command("go", "list", "-f", "{{.Dir}}", self).Output() //nolint:noctx // quick
	if err != nil {
		return nil, "", fmt.Errorf("no mongod is on the PATH, and FerretDB's sources are not found: go list %s: %w", self, err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "ferret")
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		return nil, "", fmt.Errorf("no mongod is on the PATH, and FerretDB's sources are not here: %w", err)
	}
	// go run keeps the program in Go's build cache: it is linked once.
	cmd := exec.Command("go", "run", ".") //nolint:noctx // ended by its standard input
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "PWD="+dir)
	lines, w := io.Pipe()
	p, err := launch(cmd, w)
	if err != nil {
		return nil, "", err
	}
	go func() {
		<-p.done
		_ = w.Close()
	}()
	uri, err := bufio.NewReader(lines).ReadString('\n')
	if err != nil {
		p.stop()
		return nil, "", fmt.Errorf("FerretDB, built in %s, did not start: %s", dir, p.last)
	}
	go func() { _, _ = io.Copy(io.Discard, lines) }()
	return p, strings.TrimSpace(uri), nil
}

func checksum(s string) uint32 { return crc32.ChecksumIEEE([]byte(s)) }
