package mongoharness

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest/commonground"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest/mongoproxy"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Config says where a harness has its databases.
type Config struct {
	// Server to make them on. They are dropped with the test.
	Server *mongotest.Server
	// Change is made to what a handle is opened with; nil: none.
	Change func(*mongostore.Config)
}

// Mongo is a harness of mongostore: a database of its own with two handles on it, each
// by a link of its own, and a third way past both. Every command of the handles must be
// understood by every server.
type Mongo struct {
	t             testing.TB
	cfg           Config
	clock         *stabilize.ManualClock
	links         [2]*mongotest.Link
	db            *mongo.Database
	first, second *mongostore.Store
	commands      atomic.Int64 // of the first handle
	out           [2]atomic.Int64

	mu      sync.Mutex
	further []*mongostore.Store
	empties int
}

var (
	_ conformance.Harness       = (*Mongo)(nil)
	_ conformance.Lacking       = (*Mongo)(nil)
	_ conformance.OpenCounter   = (*Mongo)(nil)
	_ conformance.RowCounter    = (*Mongo)(nil)
	_ conformance.Tamperer      = (*Mongo)(nil)
	_ conformance.EventTamperer = (*Mongo)(nil)
	_ conformance.VersionSetter = (*Mongo)(nil)
	_ conformance.Limiter       = (*Mongo)(nil)
	_ conformance.QueryCounter  = (*Mongo)(nil)
	_ conformance.Interceptor   = (*Mongo)(nil)
	_ conformance.Freezer       = (*Mongo)(nil)
	_ conformance.Restarter     = (*Mongo)(nil)
	_ conformance.NarrowOpener  = (*Mongo)(nil)
	_ conformance.TenantOpener  = (*Mongo)(nil)
	_ conformance.GivenOpener   = (*Mongo)(nil)
	_ conformance.Migrator      = (*Mongo)(nil)
)

const largest = 12 << 20

// New makes a harness, which is closed when the test ends.
func New(t testing.TB, cfg Config) *Mongo {
	t.Helper()
	h := &Mongo{t: t, cfg: cfg, clock: stabilize.NewManualClock(time.Date(2025, 5, 6, 7, 8, 9, 0, time.UTC))}
	h.db = cfg.Server.Client(t).Database(cfg.Server.Database(t))
	for i := range h.links {
		h.links[i] = cfg.Server.Link(t)
	}
	if err := h.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, s := range append(h.further, h.first, h.second) {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return h
}

// Handles returns the two; Reopen changes them.
func (h *Mongo) Handles() (first, second *mongostore.Store) { return h.first, h.second }

// Link returns the way by which the handle goes: 0 is the first.
func (h *Mongo) Link(handle int) *mongotest.Link { return h.links[handle] }

// Database is the handles', past both of them.
func (h *Mongo) Database() *mongo.Database { return h.db }

// Config returns what that handle is opened with: 0 is the first.
func (h *Mongo) Config(handle int) mongostore.Config { return h.config(handle) }

// Keep has a further handle closed at the harness's end.
func (h *Mongo) Keep(s *mongostore.Store, err error) (persistence.Store, error) {
	return h.extra(s, err)
}

func (h *Mongo) config(i int) mongostore.Config {
	cfg := mongostore.Config{
		URI: h.links[i].URI(), Database: h.db.Name(), Clock: h.clock, MaxPayload: largest, Inline: 700, Migrate: true,
		CallTimeout: 2 * time.Minute, // FerretDB 1 does one thing at a time
		Options: options.Client().SetPoolMonitor(&event.PoolMonitor{Event: func(e *event.PoolEvent) {
			switch e.Type {
			case event.ConnectionCheckedOut:
				h.out[i].Add(1)
			case event.ConnectionCheckedIn:
				h.out[i].Add(-1)
			}
		}}),
	}
	// Nothing may be sent that not every server understands.
	cfg.Monitor = &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		if err := commonground.Check(mongoproxy.Command{Name: e.CommandName, Database: e.DatabaseName, Body: e.Command}); err != nil {
			h.t.Error(err)
		}
	}}
	if h.cfg.Change != nil {
		h.cfg.Change(&cfg)
	}
	return cfg
}

func (h *Mongo) open() (err error) {
	cfg := h.config(0)
	check := cfg.Monitor.Started
	cfg.Monitor = &event.CommandMonitor{Started: func(ctx context.Context, e *event.CommandStartedEvent) {
		h.commands.Add(1)
		check(ctx, e)
	}}
	if h.first, err = mongostore.Open(context.Background(), cfg); err != nil {
		return err
	}
	h.second, err = mongostore.Open(context.Background(), h.config(1))
	return err
}

// extra keeps a further handle, which the harness closes at its end.
func (h *Mongo) extra(s *mongostore.Store, err error) (persistence.Store, error) {
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.further = append(h.further, s)
	return s, nil
}

func (h *Mongo) Store() persistence.Store      { return h.first }
func (h *Mongo) Second() persistence.Store     { return h.second }
func (h *Mongo) Clock() *stabilize.ManualClock { return h.clock }
func (h *Mongo) MaxPayload() int64             { return largest }
func (h *Mongo) Queries() int                  { return int(h.commands.Load()) }

func (h *Mongo) Reopen() persistence.Store {
	if err := errors.Join(h.first.Close(), h.second.Close(), h.open()); err != nil {
		panic(fmt.Sprintf("reopening: %v", err))
	}
	return h.first
}

// Open opens a further handle, as another process would have.
func (h *Mongo) Open() persistence.Store {
	s, err := h.extra(mongostore.Open(context.Background(), h.config(1)))
	if err != nil {
		panic(fmt.Sprintf("opening a further handle: %v", err))
	}
	return s
}

// Lacks implements conformance.Lacking: plans are told differently by every server.
func (h *Mongo) Lacks() []conformance.Power {
	return []conformance.Power{conformance.CanExplain, conformance.CanHold}
}

func (h *Mongo) InUse(context.Context) (map[string]int, error) {
	return map[string]int{
		"connections of the first handle":  int(h.out[0].Load()),
		"connections of the second handle": int(h.out[1].Load()),
	}, nil
}

func (h *Mongo) Rows(ctx context.Context) (map[string]int, error) {
	names, err := h.db.ListCollectionNames(ctx, bson.D{})
	if err != nil {
		return nil, err
	}
	rows := map[string]int{}
	for _, name := range names {
		if name == "meta" || name == "workers" || strings.HasPrefix(name, "system.") {
			continue
		}
		cursor, err := h.db.Collection(name).Find(ctx, bson.D{}, options.Find().SetProjection(bson.D{{Key: "_id", Value: 1}}))
		if err != nil {
			return nil, err
		}
		var docs []bson.Raw
		if err := cursor.All(ctx, &docs); err != nil {
			return nil, err
		}
		if name == "steps" && len(docs) == 0 {
			continue // holds something only while a call is under way
		}
		rows[name] = len(docs)
	}
	return rows, nil
}

func (h *Mongo) change(ctx context.Context, collection, id string, set bson.D) error {
	res, err := h.db.Collection(collection).UpdateOne(ctx, bson.D{{Key: "_id", Value: id}}, bson.D{{Key: "$set", Value: set}})
	if err == nil && res.MatchedCount == 0 {
		err = fmt.Errorf("%s has no %q", collection, id)
	}
	return err
}

// find returns the document of a stage's workflow, and the field that the stage is.
func (h *Mongo) find(ctx context.Context, stage string) (workflow, field string, err error) {
	cursor, err := h.db.Collection("workflows").Find(ctx, bson.D{})
	if err != nil {
		return "", "", err
	}
	var docs []struct {
		ID     string              `bson:"_id"`
		Stages map[string]bson.Raw `bson:"stages"`
	}
	if err := cursor.All(ctx, &docs); err != nil {
		return "", "", err
	}
	name := base64.RawURLEncoding.EncodeToString([]byte(stage))
	for _, doc := range docs {
		if slices.Contains(slices.Collect(maps.Keys(doc.Stages)), name) {
			return doc.ID, "stages." + name, nil
		}
	}
	return "", "", fmt.Errorf("there is no stage %q", stage)
}

// TamperEvents implements conformance.EventTamperer.
func (h *Mongo) TamperEvents(ctx context.Context, eventID string, body []byte) error {
	of, err := events.ParseID(eventID)
	if err != nil {
		return err
	}
	res, err := h.db.Collection("events").UpdateMany(ctx, bson.D{{Key: "wf", Value: of.WorkflowID}, {Key: "v", Value: of.Version}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "body", Value: string(body)}}}})
	if err == nil && res.MatchedCount == 0 {
		err = fmt.Errorf("events has none of %q", eventID)
	}
	return err
}

func (h *Mongo) Tamper(ctx context.Context, table, id string, body []byte) error {
	switch table {
	case conformance.TableMessages:
		return h.change(ctx, "messages", id, bson.D{{Key: "body", Value: string(body)}})
	case conformance.TableWorkflows:
		return h.change(ctx, "workflows", id, bson.D{{Key: "header", Value: bson.D{{Key: "b", Value: string(body)}, {Key: "z", Value: int64(len(body))}}}})
	}
	workflow, field, err := h.find(ctx, id)
	if err != nil {
		return err
	}
	return h.change(ctx, "workflows", workflow, bson.D{{Key: field + ".b", Value: string(body)}, {Key: field + ".x", Value: ""}})
}

func (h *Mongo) SetVersion(ctx context.Context, id string, version int64) error {
	var doc struct {
		Stages map[string]bson.Raw `bson:"stages"`
	}
	if err := h.db.Collection("workflows").FindOne(ctx, bson.D{{Key: "_id", Value: id}}).Decode(&doc); err != nil {
		return err
	}
	// As whoever writes does: with another rev, so that nobody goes by what he remembers.
	set := bson.D{{Key: "version", Value: version}, {Key: "rev", Value: fmt.Sprint("set to ", version)}}
	for name := range doc.Stages {
		set = append(set, bson.E{Key: "stages." + name + ".v", Value: version})
	}
	return h.change(ctx, "workflows", id, set)
}

func (h *Mongo) Intercept(f func(executed bool) (breaks bool)) {
	if f == nil {
		h.links[0].Intercept(nil)
		return
	}
	h.links[0].Intercept(func(c mongoproxy.Call) mongoproxy.Fault {
		if c.Background() {
			return mongoproxy.Fault{}
		}
		return mongoproxy.Fault{Break: f(c.Executed())}
	})
}

func (h *Mongo) Freeze(context.Context) (func() error, error) {
	first, second := h.links[0].Freeze(), h.links[1].Freeze()
	return func() error { first(); second(); return nil }, nil
}

func (h *Mongo) Restart(context.Context) error {
	for _, l := range h.links {
		l.Break()
	}
	return nil
}

func (h *Mongo) OpenNarrow(ctx context.Context) (persistence.Store, error) {
	cfg := h.config(0)
	cfg.Options.SetMaxPoolSize(1)
	return h.extra(mongostore.Open(ctx, cfg))
}

func (h *Mongo) OpenTenant(ctx context.Context, name string) (persistence.Store, error) {
	cfg := h.config(0)
	cfg.Prefix = name
	return h.extra(mongostore.Open(ctx, cfg))
}

func (h *Mongo) OpenGiven(ctx context.Context, given bool) (persistence.Store, func(context.Context) bool, error) {
	if !given {
		var open atomic.Int64
		cfg := h.config(0)
		cfg.Options.SetPoolMonitor(&event.PoolMonitor{Event: func(e *event.PoolEvent) {
			switch e.Type {
			case event.ConnectionReady:
				open.Add(1)
			case event.ConnectionClosed:
				open.Add(-1)
			}
		}})
		s, err := h.extra(mongostore.Open(ctx, cfg))
		return s, func(context.Context) bool { return open.Load() > 0 }, err
	}
	client := h.cfg.Server.Client(h.t)
	cfg := h.config(0)
	cfg.URI, cfg.Options, cfg.Monitor, cfg.Client = "", nil, nil, client
	s, err := h.extra(mongostore.Open(ctx, cfg))
	return s, func(ctx context.Context) bool { return client.Ping(ctx, nil) == nil }, err
}
