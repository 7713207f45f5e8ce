//go:build unix

package mongostore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"pgregory.net/rapid"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest/mongoproxy"
	"github.com/stabilize-dev/go-stabilize/persistence/stores"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

const secret = "tr0ub4dor&3"

// noSecret fails if an error holds the password, as it is or as a URI writes it, at
// any depth and in any way to print it.
func noSecret(t testing.TB, err error, password string) {
	t.Helper()
	if err == nil {
		return
	}
	noSecretIn(t, fmt.Sprintf("%v %+v %#v %q", err, err, err, err), password)
	switch e := err.(type) { //nolint:errorlint // each is looked at
	case interface{ Unwrap() error }:
		noSecret(t, e.Unwrap(), password)
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			noSecret(t, err, password)
		}
	}
}

func noSecretIn(t testing.TB, text, password string) {
	t.Helper()
	quoted := fmt.Sprintf("%q", password)
	for _, form := range []string{password, url.QueryEscape(password), url.PathEscape(password), url.UserPassword("", password).String()[1:], quoted[1 : len(quoted)-1]} {
		if strings.Contains(text, form) {
			t.Errorf("the password %q is in: %s", password, text)
		}
	}
}

// withSecret is the URI of a user with a password at a host.
func withSecret(host, options string) string {
	return (&url.URL{Scheme: "mongodb", User: url.UserPassword("me", secret), Host: host, Path: "/work", RawQuery: options}).String()
}

// listener accepts connections, and does with them what it is told.
func listener(t *testing.T, serve func(net.Conn)) (host string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed with the test
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	t.Cleanup(conns.Wait)
	t.Cleanup(func() { _ = l.Close() })
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
			serve(c)
		}
	})
	return l.Addr().String()
}

// Where no server is, opening ends with the caller's context, or with the timeout of
// calls, and says who did not answer and how.
func TestOpenWithoutServer(t *testing.T) {
	t.Parallel()
	const brief = 300 * time.Millisecond
	for name, c := range map[string]struct {
		host, says string
		wait       time.Duration
	}{
		"nobody listens":      {"127.0.0.1:1", "connection refused", 5 * time.Second}, // time for it to be refused
		"it says nothing":     {listener(t, func(net.Conn) {}), "", brief},
		"it hangs up":         {listener(t, func(c net.Conn) { _ = c.Close() }), "", brief},
		"it is no MongoDB":    {listener(t, func(c net.Conn) { _, _ = c.Write([]byte("220 mail.example.org ESMTP\r\n")) }), "", brief},
		"it has no such name": {"no-such-host.invalid:27017", "no-such-host.invalid", brief},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for class, open := range map[error]func() (*mongostore.Store, error){
				context.DeadlineExceeded: func() (*mongostore.Store, error) {
					ctx, cancel := context.WithTimeout(t.Context(), c.wait)
					defer cancel()
					return mongostore.Open(ctx, mongostore.Config{URI: withSecret(c.host, "")})
				},
				stabilize.ErrTransient: func() (*mongostore.Store, error) {
					return mongostore.Open(t.Context(), mongostore.Config{URI: withSecret(c.host, ""), CallTimeout: c.wait})
				},
			} {
				s, err := open()
				if err == nil {
					_ = s.Close()
					t.Fatal("opened")
				}
				host, _, _ := net.SplitHostPort(c.host)
				if !errors.Is(err, class) || !strings.Contains(err.Error(), host) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%v is not %v saying %q of %s", err, class, c.says, c.host)
				}
				noSecret(t, err, secret)
			}
		})
	}
}

// soon has the driver give up a server that is away, and not one that is slow.
const soon = "serverSelectionTimeoutMS=5000"

// A server that goes away is ErrTransient for whatever is asked of it.
func TestServerGoesAway(t *testing.T) {
	t.Parallel()
	server := servers.One()
	link := server.Link(t)
	s, err := mongostore.Open(t.Context(), mongostore.Config{URI: link.URI() + "&" + soon, Database: server.Database(t), Migrate: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := link.Close(); err != nil { // nobody listens any more
		t.Fatal(err)
	}
	w := queue.Worker{ID: "w", TTL: time.Minute}
	head := &stabilize.Header{ID: "w", Application: "app", Name: "n", Status: stabilize.Running, CreatedAt: time.Now()}
	r := queue.Receipt{ID: "m", Token: "t"}
	var all sync.WaitGroup
	for name, call := range map[string]func(context.Context) error{
		"commit": func(ctx context.Context) error {
			return s.CommitBatch(ctx, []*persistence.Commit{{WorkflowID: "w", Header: head}})[0]
		},
		"load":   func(ctx context.Context) error { _, err := s.Load(ctx, "w"); return err },
		"query":  func(ctx context.Context) error { _, err := s.Query(ctx, persistence.Query{}); return err },
		"delete": func(ctx context.Context) error { return s.Delete(ctx, "w") },
		"prune": func(ctx context.Context) error {
			h := *head
			h.Status, h.Version = stabilize.Succeeded, 1
			_, err := s.Prune(ctx, &h)
			return err
		},
		"admission": func(ctx context.Context) error { _, err := s.Admissions(ctx, "k"); return err },
		"ends":      func(ctx context.Context) error { _, err := s.Unfinished(ctx, "w"); return err },
		"waiting":   func(ctx context.Context) error { _, err := s.WaitingKeys(ctx); return err },
		"push": func(ctx context.Context) error {
			return s.Push(ctx, queue.Outgoing{Message: queue.StartWaitingWorkflows{Key: "k"}})
		},
		"claim":     func(ctx context.Context) error { _, err := s.Claim(ctx, w, queue.Room{Control: 1}); return err },
		"heartbeat": func(ctx context.Context) error { _, err := s.Heartbeat(ctx, w); return err },
		"retire":    func(ctx context.Context) error { return s.Retire(ctx, "w") },
		"ack":       func(ctx context.Context) error { return s.Ack(ctx, r) },
		"release":   func(ctx context.Context) error { return s.Release(ctx, r, time.Time{}, nil) },
		"depth":     func(ctx context.Context) error { _, err := s.Depth(ctx); return err },
		"pending":   func(ctx context.Context) error { _, err := s.Pending(ctx, "w"); return err },
		"dead":      func(ctx context.Context) error { _, err := s.ListDead(ctx, "", 1); return err },
		"replay":    func(ctx context.Context) error { return s.ReplayDead(ctx, "m") },
	} {
		// What may have been done is not said to have failed.
		may := func(err error) bool {
			return (name == "commit" || name == "push" || name == "ack") && errors.Is(err, stabilize.ErrUnknownOutcome)
		}
		all.Go(func() {
			if err := call(t.Context()); !errors.Is(err, stabilize.ErrTransient) && !may(err) {
				t.Errorf("%s: %v", name, err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, stabilize.ErrTransient) && !may(err) {
				t.Errorf("%s, with a deadline: %v", name, err)
			}
		})
	}
	all.Wait()
}

// guard answers for a server that asks who one is, if this one does not: FerretDB 1.
type guard struct {
	refuse atomic.Pointer[bson.Raw] // nil: whoever comes is let in
	after  bool                     // it refuses at the second question, not the first
	asks   bool                     // the server does: it says whom it lets in
}

// user is somebody whom the server of a link lets in, while the guard, by whom the link
// goes, does not refuse it.
func (g *guard) user(t *testing.T, link *mongotest.Link, options string) (uri, password string) {
	t.Helper()
	u, err := url.Parse(link.URI())
	if err != nil {
		t.Fatal(err)
	}
	link.Intercept(g.intercept)
	if password, g.asks = u.User.Password(); g.asks {
		return link.URI() + "&" + options, password
	}
	return withSecret(link.Addr(), plain+"&"+options), secret
}

func (g *guard) intercept(c mongoproxy.Call) mongoproxy.Fault {
	if c.Executed() || c.Name != "saslStart" && c.Name != "saslContinue" {
		return mongoproxy.Fault{}
	}
	refusal := g.refuse.Load()
	if refusal == nil && g.asks {
		return mongoproxy.Fault{}
	}
	if refusal != nil && (!g.after || c.Name == "saslContinue") {
		return mongoproxy.Fault{Answer: *refusal}
	}
	welcome, err := bson.Marshal(bson.D{{Key: "ok", Value: 1.0}, {Key: "conversationId", Value: int32(1)}, {Key: "done", Value: refusal == nil}, {Key: "payload", Value: bson.Binary{}}})
	if err != nil {
		panic(err) // of constants
	}
	return mongoproxy.Fault{Answer: welcome}
}

// plain is the mechanism of which one answer is all.
const plain = "directConnection=true&authMechanism=PLAIN"

// Credentials that a server does not take, and rights that are missing, are ErrInvalid
// when a store is opened; later they may be granted again.
func TestCredentials(t *testing.T) {
	server := servers.One()
	database := server.Database(t)
	refusals := map[string]bson.Raw{
		"wrong": mongoproxy.Error(18, "Authentication failed."), "Atlas's": mongoproxy.Error(8000, "bad auth : authentication failed"),
		"no such mechanism": mongoproxy.Error(334, "Unsupported mechanism"),
	}
	for name, refusal := range refusals {
		for _, mechanism := range []string{"", "&authMechanism=PLAIN", "&authMechanism=SCRAM-SHA-256"} {
			link := server.Link(t)
			g := &guard{}
			g.refuse.Store(&refusal)
			link.Intercept(g.intercept)
			_, err := mongostore.Open(t.Context(), mongostore.Config{URI: withSecret(link.Addr(), "directConnection=true"+mechanism), Database: database, Migrate: true})
			var told mongo.ServerError
			if !errors.Is(err, stabilize.ErrInvalid) || !errors.As(err, &told) {
				t.Errorf("%s%s: %v", name, mechanism, err)
			}
			noSecret(t, err, secret)
		}
	}
	for _, command := range []string{"find", "createIndexes", "insert", "delete"} {
		link := server.Link(t)
		link.Intercept(func(c mongoproxy.Call) mongoproxy.Fault {
			if c.Name == command && !c.Executed() {
				return mongoproxy.Fault{Answer: mongoproxy.Error(13, "not authorized on work to execute command")}
			}
			return mongoproxy.Fault{}
		})
		_, err := mongostore.Open(t.Context(), mongostore.Config{URI: link.URI(), Database: server.Database(t), Migrate: true})
		if !errors.Is(err, stabilize.ErrInvalid) || !strings.Contains(err.Error(), "not authorized") {
			t.Errorf("may not %s: %v", command, err)
		}
	}

	link := server.Link(t)
	g := &guard{}
	uri, password := g.user(t, link, "")
	s, err := mongostore.Open(t.Context(), mongostore.Config{URI: uri, Database: database, Migrate: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	wrong := refusals["wrong"]
	g.refuse.Store(&wrong)
	link.Break()
	_, err = s.Load(t.Context(), "w")
	for i := 0; i < 3 && !strings.Contains(fmt.Sprint(err), "Authentication failed"); i++ { // the first finds that its connection is broken
		_, err = s.Load(t.Context(), "w")
	}
	if !errors.Is(err, stabilize.ErrTransient) || !strings.Contains(err.Error(), "Authentication failed") {
		t.Errorf("after a change of the password: %v", err)
	}
	noSecret(t, err, password)
	g.refuse.Store(nil)
	_, err = s.Load(t.Context(), "w")
	for i := 0; i < 3 && errors.Is(err, stabilize.ErrTransient); i++ { // the driver may hear late of connections that were refused
		_, err = s.Load(t.Context(), "w")
	}
	if !errors.Is(err, stabilize.ErrNotFound) {
		t.Errorf("when it was changed back: %v", err)
	}
}

// Whatever the password is and whatever is wrong with the URI or the way to the
// server, the password is in no error.
func TestOpenKeepsPasswords(t *testing.T) {
	t.Parallel()
	// Long enough not to be part of a text by chance.
	passwords := rapid.StringOfN(rapid.RuneFrom([]rune("aZ09 %:/?#[]@!$&'()*+,;=\"\\\u00fc\u4e16\n\t-_.~|^<>{}`")), 8, 24, -1)
	for seed := range 12 {
		password := "pw" + passwords.Example(seed)
		const brief = "serverSelectionTimeoutMS=1"
		u := url.URL{Scheme: "mongodb", User: url.UserPassword("me", password), Host: "127.0.0.1:1", Path: "/work", RawQuery: brief}
		with := func(change func(u *url.URL)) string {
			u := u
			change(&u)
			return u.String()
		}
		add := func(option string) string { return with(func(u *url.URL) { u.RawQuery += "&" + option }) }
		raw := "mongodb://me:" + password + "@127.0.0.1:1/work?" + brief // as somebody may write it
		for _, uri := range []string{
			u.String(), add("prefix=A"), add("concern=best"), add("w=x&journal=x"), add("authMechanism=NONE"), add("tls=maybe"), add("a;b"), add("%zz"),
			add("tlsCAFile=/nowhere"), add("authMechanism=GSSAPI"), add("replicaSet="), add("connectTimeoutMS=x"), add("compressors=x"), add("readPreference=x"),
			with(func(u *url.URL) { u.Host = "" }), with(func(u *url.URL) { u.Host = "127.0.0.1:x" }), with(func(u *url.URL) { u.Host = "127.0.0.1:99999" }),
			with(func(u *url.URL) { u.Path = "/" }), with(func(u *url.URL) { u.Path = "/$x" }), with(func(u *url.URL) { u.Scheme = "mongo" }),
			with(func(u *url.URL) { u.Scheme, u.Host = "mongodb+srv", "no-such-host.invalid" }),
			raw, raw + "&prefix=A", raw + "%zz", strings.TrimPrefix(raw, "mongodb:"), strings.Replace(raw, "mongodb:", "mongodb+srv:", 1),
		} {
			s, err := stores.DSN(uri)(t.Context(), persistence.Settings{})
			if err == nil {
				_ = s.Close()
				t.Fatalf("opened %q", uri)
			}
			noSecret(t, err, password)
			direct, err := mongostore.Open(t.Context(), mongostore.Config{URI: uri})
			if err == nil {
				_ = direct.Close()
				t.Fatalf("opened %q", uri)
			}
			noSecret(t, err, password)
		}
	}
}

// An engine goes on when its server was away, and what it says of that meanwhile does
// not hold the password.
func TestEngineLogsNoPassword(t *testing.T) {
	server := servers.One()
	link := server.Link(t)
	g := &guard{}
	uri, password := g.user(t, link, soon)
	s, err := mongostore.Open(t.Context(), mongostore.Config{URI: uri, Database: server.Database(t), Migrate: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	log := &logBuffer{written: make(chan struct{}, 1)}
	e, err := engine.New(s, engine.WithLogger(slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	if err != nil {
		t.Fatal(err)
	}
	begun, proceed := make(chan struct{}), make(chan struct{})
	if err := e.RegisterTask("wait", stabilize.Func(func(context.Context, struct{}) (string, error) {
		select {
		case begun <- struct{}{}:
		default:
		}
		<-proceed
		return "done", nil
	})); err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		if err := e.Run(t.Context()); err != nil {
			t.Error(err)
		}
	})
	spec := stabilize.NewWorkflow("app", "waits").Add(stabilize.NewStage("s").Do("wait"), stabilize.NewStage("t").After("s").Do("wait"))
	id, err := e.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	<-begun
	link.Intercept(func(c mongoproxy.Call) mongoproxy.Fault { return mongoproxy.Fault{Break: true} })
	link.Break()
	close(proceed)
	<-log.written
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err = e.Start(ctx, spec); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, stabilize.ErrTransient) && !errors.Is(err, stabilize.ErrUnknownOutcome) {
		t.Errorf("starting without a server: %v", err)
	}
	noSecret(t, err, password)
	link.Intercept(g.intercept)
	w, err := e.Wait(t.Context(), id)
	for errors.Is(err, stabilize.ErrTransient) {
		w, err = e.Wait(t.Context(), id)
	}
	if err != nil || w.Status != stabilize.Succeeded {
		t.Errorf("it ended %v, %v", w, err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	running.Wait()
	log.mu.Lock()
	defer log.mu.Unlock()
	noSecretIn(t, log.text.String(), password)
}

type logBuffer struct {
	mu      sync.Mutex
	text    bytes.Buffer
	written chan struct{}
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if bytes.Contains(p, []byte("mongostore")) {
		select {
		case l.written <- struct{}{}:
		default:
		}
	}
	return l.text.Write(p)
}
