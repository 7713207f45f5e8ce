package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/FerretDB/FerretDB/ferretdb"

	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest/mongoproxy"
)

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdin, os.Stdout, os.Stderr); err != nil {
		stop()
		log.Fatal(err)
	}
}

// run serves until ctx or in ends. The first line that it writes to out is the URI
// of the server, which takes connections by then; there is no second. What goes
// wrong is written to log.
func run(ctx context.Context, in io.Reader, out, logs io.Writer) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dir, err := os.MkdirTemp("", "mongotest-ferret-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	db, err := ferretdb.New(&ferretdb.Config{
		Listener: ferretdb.ListenerConfig{TCP: "127.0.0.1:0"},
		// Below that it reports every command that fails, as those do that it does not know.
		Logger:    slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelError})),
		Handler:   "sqlite",
		SQLiteURL: "file:" + dir + "/",
	})
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- db.Run(ctx) }()
	// It is known only when the server listens.
	server, err := url.Parse(db.MongoDBURI())
	if err != nil {
		return err
	}
	proxy, err := mongoproxy.Start(mongoproxy.Config{
		Dial: func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", server.Host)
		},
		OneAtATime: true,
		Slow:       time.Minute, // a command of hundreds of updates is never answered
		Logger:     slog.New(slog.NewTextHandler(logs, nil)),
	})
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	if _, err := fmt.Fprintf(out, "mongodb://%s/\n", proxy.Addr()); err != nil {
		return err
	}
	<-ctx.Done()
	return errors.Join(proxy.Close(), <-ended)
}
