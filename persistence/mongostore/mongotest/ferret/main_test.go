package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// serve runs the program until the test ends and returns what it wrote: a URI.
func serve(ctx context.Context, t *testing.T, in io.Reader) (uri string, ended <-chan error) {
	t.Helper()
	lines, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- run(ctx, in, out, t.Output()) }()
	line, err := bufio.NewReader(lines).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(line, "\n"), done
}

// Every compare-and-set that is said to have matched was one, whoever else does the
// same. Without turns, of 160 some 30 are.
func TestCompareAndSet(t *testing.T) {
	in, stop := io.Pipe()
	uri, ended := serve(t.Context(), t, in)
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	c := client.Database("d").Collection("c")
	if _, err := c.InsertOne(t.Context(), bson.M{"_id": "w", "rev": 0, "n": 0}); err != nil {
		t.Fatal(err)
	}
	const workers, each = 16, 10
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for done := 0; done < each; {
				var doc struct{ Rev int }
				if err := c.FindOne(t.Context(), bson.M{"_id": "w"}).Decode(&doc); err != nil {
					t.Error(err)
					return
				}
				r, err := c.UpdateOne(t.Context(), bson.M{"_id": "w", "rev": doc.Rev}, bson.M{"$inc": bson.M{"rev": 1, "n": 1}})
				if err != nil {
					t.Error(err)
					return
				}
				done += int(r.MatchedCount)
			}
		})
	}
	all.Wait()
	var doc struct{ Rev, N int }
	if err := c.FindOne(t.Context(), bson.M{"_id": "w"}).Decode(&doc); err != nil || doc.N != workers*each || doc.Rev != doc.N {
		t.Errorf("%+v after %d increments, %v", doc, workers*each, err)
	}
	if err := client.Disconnect(t.Context()); err != nil {
		t.Error(err)
	}
	_ = stop.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// The program ends with its input or its context, and takes its connections along.
func TestEnds(t *testing.T) {
	for _, by := range []string{"input", "context"} {
		t.Run(by, func(t *testing.T) {
			in, stop := io.Pipe()
			defer stop.Close()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			uri, ended := serve(ctx, t, in)
			u, err := url.Parse(uri)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := net.Dial("tcp", u.Host)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if by == "input" {
				_ = stop.Close()
			} else {
				cancel()
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
			var op *net.OpError
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.As(err, &op) {
				t.Errorf("the connection goes on: %v", err)
			}
		})
	}
}
