package mongotest

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest/mongoproxy"
)

// Link is a way to a server that breaks when it is told to. It knows one member of
// the server only, the one that was the primary when it was made.
type Link struct {
	*mongoproxy.Proxy

	uri string
}

// URI of the server by this way.
func (l *Link) URI() string { return l.uri }

// Link makes one, which is closed when the test ends: clients made later than it
// are closed before.
func (s *Server) Link(t testing.TB) *Link {
	t.Helper()
	uri := s.URI(t)
	opts := options.Client().ApplyURI(uri)
	host, err := primary(t.Context(), opts)
	if err != nil {
		t.Fatalf("looking for the primary: %v", err)
	}
	proxy, err := mongoproxy.Start(mongoproxy.Config{Dial: func(ctx context.Context) (net.Conn, error) {
		if opts.TLSConfig != nil {
			d := tls.Dialer{Config: opts.TLSConfig.Clone()}
			return d.DialContext(ctx, "tcp", host)
		}
		var d net.Dialer
		return d.DialContext(ctx, "tcp", host)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proxy.Close(); err != nil {
			t.Error(err)
		}
	})
	l := &Link{Proxy: proxy}
	if l.uri, err = through(uri, proxy.Addr(), opts); err != nil {
		t.Fatal(err)
	}
	return l
}

// primary returns the host and port of the member that takes writes.
func primary(ctx context.Context, opts *options.ClientOptions) (string, error) {
	client, err := mongo.Connect(opts)
	if err != nil {
		return "", err
	}
	defer func() { _ = client.Disconnect(context.WithoutCancel(ctx)) }()
	hello, err := client.Database("admin").RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Raw()
	if err != nil {
		return "", err
	}
	if me, ok := hello.Lookup("me").StringValueOK(); ok { // members of replica sets say it
		return me, nil
	}
	if len(opts.Hosts) == 0 {
		return "", fmt.Errorf("%s names no host", Env)
	}
	host := opts.Hosts[0]
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(host, "27017")
	}
	return host, nil
}
