//go:build unix

package mongotest_test

import (
	"os"
	"slices"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest"
)

// servers are those of all tests of this package. TestMain stops them.
var servers mongotest.Servers

func TestMain(m *testing.M) {
	if os.Getenv(child) == "mongod" {
		_, _ = os.Stderr.WriteString(beMongod(os.Args[1:]).Error())
		os.Exit(1)
	}
	code := m.Run()
	servers.Stop()
	os.Exit(code)
}

// A server takes writes, directly and by a link, and a database is dropped with its
// test.
func TestServers(t *testing.T) {
	servers.Each(t, func(t *testing.T, s *mongotest.Server) {
		client := s.Client(t)
		var name string
		t.Run("in use", func(t *testing.T) {
			name = s.Database(t)
			if other := s.Database(t); other == name {
				t.Errorf("two databases are called %s", name)
			}
			if _, err := client.Database(name).Collection("c").InsertOne(t.Context(), bson.M{"_id": 1, "n": 1}); err != nil {
				t.Fatal(err)
			}
			link := connect(t, s.Link(t).URI())
			r, err := link.Database(name).Collection("c").UpdateOne(t.Context(), bson.M{"_id": 1, "n": 1}, bson.M{"$inc": bson.M{"n": 1}})
			if err != nil || r.MatchedCount != 1 {
				t.Errorf("%+v, %v", r, err)
			}
		})
		names, err := client.ListDatabaseNames(t.Context(), bson.M{})
		if err != nil || slices.Contains(names, name) {
			t.Errorf("databases after the test: %v, %v", names, err)
		}
	})
	if servers.One() != servers.One() {
		t.Error("one is another the second time")
	}
}
