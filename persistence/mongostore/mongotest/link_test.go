//go:build unix

package mongotest_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest/mongoproxy"
)

// counter is a document that is raised by way of a link, and looked at past it.
type counter struct {
	link, direct *mongo.Collection
}

func newCounter(t *testing.T, s *mongotest.Server, link *mongotest.Link) counter {
	t.Helper()
	db := s.Database(t)
	// What the driver would try again itself is not what is tested.
	c := counter{connect(t, link.URI()+"&retryWrites=false&retryReads=false").Database(db).Collection("c"), s.Client(t).Database(db).Collection("c")}
	if _, err := c.direct.InsertOne(t.Context(), bson.M{"_id": 1, "n": 0}); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c counter) raise(ctx context.Context) error {
	_, err := c.link.UpdateOne(ctx, bson.M{"_id": 1}, bson.M{"$inc": bson.M{"n": 1}})
	return err
}

func (c counter) value(t *testing.T) int {
	t.Helper()
	var doc struct{ N int }
	if err := c.direct.FindOne(t.Context(), bson.M{"_id": 1}).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	return doc.N
}

// What a link does to a command is what the driver says of it, and the server has
// executed it or not.
func TestLinkFaults(t *testing.T) {
	for name, c := range map[string]struct {
		executed bool
		fault    mongoproxy.Fault
		is       func(error) bool
	}{
		"broken before":        {false, mongoproxy.Fault{Break: true}, mongo.IsNetworkError},
		"broken after":         {true, mongoproxy.Fault{Break: true}, mongo.IsNetworkError},
		"no primary":           {false, mongoproxy.Fault{Answer: mongoproxy.Error(mongoproxy.NotWritablePrimary, "x", mongoproxy.LabelRetryable)}, code(mongoproxy.NotWritablePrimary)},
		"shutting down":        {false, mongoproxy.Fault{Answer: mongoproxy.Error(mongoproxy.ShutdownInProgress, "x", mongoproxy.LabelRetryable)}, code(mongoproxy.ShutdownInProgress)},
		"stepped down midway":  {true, mongoproxy.Fault{Answer: mongoproxy.Error(mongoproxy.PrimarySteppedDown, "x", mongoproxy.LabelRetryable)}, code(mongoproxy.PrimarySteppedDown)},
		"not known if durable": {true, mongoproxy.Fault{Answer: mongoproxy.WriteConcernError(1, mongoproxy.ShutdownInProgress, "x", mongoproxy.LabelRetryable)}, code(mongoproxy.ShutdownInProgress)},
		"duplicate key":        {false, mongoproxy.Fault{Answer: mongoproxy.WriteError(11000, "x")}, mongo.IsDuplicateKeyError},
	} {
		t.Run(name, func(t *testing.T) {
			s := servers.One()
			link := s.Link(t)
			counter := newCounter(t, s, link)
			var once atomic.Bool
			link.Intercept(func(call mongoproxy.Call) mongoproxy.Fault {
				if call.Name == "update" && call.Executed() == c.executed && once.CompareAndSwap(false, true) {
					return c.fault
				}
				return mongoproxy.Fault{}
			})
			want := 1
			if c.executed {
				want = 2
			}
			if err := counter.raise(t.Context()); !c.is(err) {
				t.Errorf("raising: %v (%T)", err, err)
			}
			if err := counter.raise(t.Context()); err != nil { // the driver has recovered
				t.Error(err)
			}
			if n := counter.value(t); n != want {
				t.Errorf("raised to %d, want %d", n, want)
			}
		})
	}
}

func code(want int) func(error) bool {
	return func(err error) bool {
		var e mongo.ServerError
		return errors.As(err, &e) && e.HasErrorCode(want)
	}
}

func TestLinkFreezesAndBreaks(t *testing.T) {
	s := servers.One()
	link := s.Link(t)
	counter := newCounter(t, s, link)
	if err := counter.raise(t.Context()); err != nil {
		t.Fatal(err)
	}
	thaw := link.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := counter.raise(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("on a frozen server: %v", err)
	}
	if n := counter.value(t); n != 1 {
		t.Errorf("raised to %d while frozen", n)
	}
	thaw()
	link.Break()
	// The connections that the driver holds are broken: it may be told so once for each.
	for err := errors.New("not tried"); err != nil; err = counter.raise(t.Context()) {
		if !mongo.IsNetworkError(err) && err.Error() != "not tried" {
			t.Fatalf("after breaking: %v", err)
		}
	}
}
