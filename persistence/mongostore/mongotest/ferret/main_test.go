package main

import (
	"bufio"
	"io"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

func start(t *testing.T) string {
	in, stop := io.Pipe()
	lines, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- run(t.Context(), in, out, t.Output()) }()
	t.Cleanup(func() {
		_ = stop.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	line, err := bufio.NewReader(lines).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line[:len(line)-1]
}

func TestServer(t *testing.T) {
	client, err := mongo.Connect(options.Client().ApplyURI(start(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Disconnect(t.Context())
	c := client.Database("d").Collection("c")
	if _, err := c.InsertOne(t.Context(), bson.M{"_id": "w", "rev": 0, "n": 0}); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for done := 0; done < 10; {
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
	var doc struct{ N int }
	if err := c.FindOne(t.Context(), bson.M{"_id": "w"}).Decode(&doc); err != nil || doc.N != 160 {
		t.Errorf("%d increments, %v", doc.N, err)
	}
}
