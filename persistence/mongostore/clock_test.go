//go:build unix

package mongostore_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/stabilize-dev/go-stabilize/persistence/mongostore"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest/mongoproxy"
	"github.com/stabilize-dev/go-stabilize/queue"
)

// tells makes a server's clock wrong by so much.
func tells(t *testing.T, by time.Duration) func(mongoproxy.Call) mongoproxy.Fault {
	return func(c mongoproxy.Call) mongoproxy.Fault {
		at, ok := c.Reply.Lookup("localTime").TimeOK()
		if !c.Executed() || !ok {
			return mongoproxy.Fault{}
		}
		var doc bson.D
		if err := bson.Unmarshal(c.Reply, &doc); err != nil {
			t.Error(err)
		}
		i := slices.IndexFunc(doc, func(e bson.E) bool { return e.Key == "localTime" })
		doc[i].Value = at.Add(by)
		raw, err := bson.Marshal(doc)
		if err != nil {
			t.Error(err)
		}
		return mongoproxy.Fault{Answer: raw}
	}
}

// Stores without a clock go by the server's, however wrong the host's is: here the
// server's is hours ahead, or behind. Nobody steals a lease, or delivers what is delayed
// too early or too late.
func TestClockOfTheServer(t *testing.T) {
	server := servers.One()
	for _, by := range []time.Duration{7 * time.Hour, -7 * time.Hour} {
		database := server.Database(t)
		var stores []*mongostore.Store
		for range 2 {
			link := server.Link(t)
			link.Intercept(tells(t, by))
			s, err := mongostore.Open(t.Context(), mongostore.Config{URI: link.URI(), Database: database, Migrate: true})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			stores = append(stores, s)
			// The two agree with the server, within the time that an answer takes.
			if off := time.Until(s.Clock().Now()) - by; off.Abs() > time.Minute {
				t.Errorf("the store's clock is off by %s", off)
			}
		}
		message := func(id string, at time.Time) queue.Outgoing {
			return queue.Outgoing{ID: id, Message: queue.StartWaitingWorkflows{Key: "k"}, At: at}
		}
		// To a host whose clock goes by itself, an hour from now is either long ago or far away.
		now := stores[0].Clock().Now()
		if err := stores[0].Push(t.Context(), message("due", now), message("in an hour", now.Add(time.Hour))); err != nil {
			t.Fatal(err)
		}
		claim := func(s *mongostore.Store, worker string) (ids []string) {
			t.Helper()
			got, err := s.Claim(t.Context(), queue.Worker{ID: worker, TTL: time.Hour}, queue.Room{Control: 10})
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range got {
				ids = append(ids, d.ID)
			}
			return ids
		}
		if got := fmt.Sprint(claim(stores[0], "one")); got != "[due]" {
			t.Errorf("the server's clock is off by %s: claimed %s", by, got)
		}
		if got := claim(stores[1], "other"); len(got) > 0 {
			t.Errorf("the server's clock is off by %s: %v were stolen", by, got)
		}
	}
}
