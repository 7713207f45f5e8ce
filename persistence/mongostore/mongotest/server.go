package mongotest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
)

// Env names a server to use instead of one of our own. Its user may create and drop
// databases. The value "ferretdb:" asks for FerretDB.
const Env = "STABILIZE_TEST_MONGO_URI"

const askForFerretDB = "ferretdb:"

// patience is how long a server may take from its start to its first answer.
const patience = 2 * time.Minute

// Servers are those that the tests of one binary run on. The zero value is ready;
// Stop belongs at the end of TestMain. Safe for concurrent use.
type Servers struct {
	once sync.Once
	all  []*Server
}

// Named returns the server of that URI, somebody else's, whose user may create and drop
// databases.
func Named(uri string) *Server {
	return &Server{name: "environment", start: func() (*process, string, error) { return nil, uri, nil }}
}

// Each runs f on every server, as a sub-test of its name. The server runs by then, so
// that it belongs to none of the sub-tests of that.
func (s *Servers) Each(t *testing.T, f func(*testing.T, *Server)) {
	t.Helper()
	for _, server := range s.list() {
		t.Run(server.name, func(t *testing.T) {
			server.URI(t)
			f(t, server)
		})
	}
}

// One returns one of the servers, always the same: for tests to which it makes no
// difference which.
func (s *Servers) One() *Server {
	all := s.list()
	return all[len(all)-1]
}

// Stop ends the servers that were started and removes their data.
func (s *Servers) Stop() {
	for _, server := range s.list() {
		server.close()
	}
}

func (s *Servers) list() []*Server {
	s.once.Do(func() {
		uri := os.Getenv(Env)
		mongod, err := exec.LookPath("mongod")
		switch {
		case uri != "" && uri != askForFerretDB:
			s.all = []*Server{Named(uri)}
		case uri == "" && err == nil:
			s.all = []*Server{
				{name: "standalone", start: func() (*process, string, error) { return startMongod(mongod, "") }},
				{name: "replicaset", start: func() (*process, string, error) { return startMongod(mongod, "stabilize") }},
			}
		default:
			s.all = []*Server{{name: "ferretdb", start: startFerret}}
		}
	})
	return s.all
}

// Server starts when it is first asked for.
type Server struct {
	name  string
	start func() (p *process, uri string, err error) // p is nil if the server is somebody else's

	once      sync.Once
	process   *process
	uri       string
	err       error
	databases atomic.Int64
}

// Name is "environment", "standalone", "replicaset" or "ferretdb".
func (s *Server) Name() string { return s.name }

// URI returns a mongodb:// or mongodb+srv:// URI of the server; the test fails if
// there is none.
func (s *Server) URI(t testing.TB) string {
	t.Helper()
	s.once.Do(func() {
		if s.process, s.uri, s.err = s.start(); s.err != nil {
			return
		}
		if s.err = answers(s.process, s.uri); s.err != nil {
			s.process.stop()
		}
	})
	if s.err != nil {
		t.Fatalf("a MongoDB server is needed (%s; another may be named by %s): %v", s.name, Env, s.err)
	}
	return s.uri
}

// Client returns a client that is disconnected when the test ends.
func (s *Server) Client(t testing.TB) *mongo.Client {
	t.Helper()
	client, err := mongo.Connect(options.Client().ApplyURI(s.URI(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(context.WithoutCancel(t.Context())) })
	return client
}

// Database returns the name of a database that nobody uses; it is dropped with the
// test, whoever made it.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	host, _ := os.Hostname()
	name := fmt.Sprintf("t%x_%d_%d", checksum(host), os.Getpid(), s.databases.Add(1))
	client := s.Client(t)
	t.Cleanup(func() {
		if err := client.Database(name).Drop(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("dropping a database: %v", err)
		}
	})
	return name
}

func (s *Server) close() {
	s.once.Do(func() { s.err = errStopped })
	s.process.stop()
}

// answers waits for a server that takes writes, as long as its process lives.
func answers(p *process, uri string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client, err := mongo.Connect(options.Client().ApplyURI(uri).SetServerSelectionTimeout(patience))
	if err != nil {
		return err
	}
	defer func() { _ = client.Disconnect(context.WithoutCancel(ctx)) }()
	if p != nil {
		go func() {
			select {
			case <-p.done:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	if err := client.Ping(ctx, readpref.Primary()); err != nil {
		return p.explain(err)
	}
	return nil
}
