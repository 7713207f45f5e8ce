//go:build unix

package mongostore_test

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
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest/commonground"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest/mongoproxy"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// harness is a database of its own with two handles on it, each by a link of its
// own, and a third way past both.
type harness struct {
	t             testing.TB
	changes       []func(*mongostore.Config)
	server        *mongotest.Server
	clock         *stabilize.ManualClock
	database      string
	links         [2]*mongotest.Link
	db            *mongo.Database
	first, second *mongostore.Store
	commands      atomic.Int64 // of the first handle
	plans         plans
	out           [2]atomic.Int64

	mu      sync.Mutex
	further []*mongostore.Store
	empties int
}

var (
	_ conformance.Harness       = (*harness)(nil)
	_ conformance.Lacking       = (*harness)(nil)
	_ conformance.OpenCounter   = (*harness)(nil)
	_ conformance.RowCounter    = (*harness)(nil)
	_ conformance.Tamperer      = (*harness)(nil)
	_ conformance.VersionSetter = (*harness)(nil)
	_ conformance.Limiter       = (*harness)(nil)
	_ conformance.QueryCounter  = (*harness)(nil)
	_ conformance.Interceptor   = (*harness)(nil)
	_ conformance.Freezer       = (*harness)(nil)
	_ conformance.Restarter     = (*harness)(nil)
	_ conformance.NarrowOpener  = (*harness)(nil)
	_ conformance.TenantOpener  = (*harness)(nil)
	_ conformance.GivenOpener   = (*harness)(nil)
	_ conformance.Migrator      = (*harness)(nil)
)

const largest = 12 << 20

func newHarness(t testing.TB, server *mongotest.Server, changes ...func(*mongostore.Config)) *harness {
	t.Helper()
	h := &harness{
		t: t, server: server, changes: changes, database: server.Database(t),
		clock: stabilize.NewManualClock(time.Date(2025, 5, 6, 7, 8, 9, 0, time.UTC)),
	}
	h.db = server.Client(t).Database(h.database)
	for i := range h.links {
		h.links[i] = server.Link(t)
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

func (h *harness) config(i int) mongostore.Config {
	cfg := mongostore.Config{
		URI: h.links[i].URI(), Database: h.database, Clock: h.clock, MaxPayload: largest, Inline: 700, Migrate: true,
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
	// Nothing may be sent that not every server understands, or that looks at everything.
	cfg.Monitor = &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		if err := h.plans.check(e); err != nil {
			h.t.Error(err)
		}
		if err := commonground.Check(mongoproxy.Command{Name: e.CommandName, Database: e.DatabaseName, Body: e.Command}); err != nil {
			h.t.Error(err)
		}
	}}
	for _, change := range h.changes {
		change(&cfg)
	}
	return cfg
}

func (h *harness) open() (err error) {
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
func (h *harness) extra(s *mongostore.Store, err error) (persistence.Store, error) {
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.further = append(h.further, s)
	return s, nil
}

func (h *harness) Store() persistence.Store      { return h.first }
func (h *harness) Second() persistence.Store     { return h.second }
func (h *harness) Clock() *stabilize.ManualClock { return h.clock }
func (h *harness) MaxPayload() int64             { return largest }
func (h *harness) Queries() int                  { return int(h.commands.Load()) }

func (h *harness) Reopen() persistence.Store {
	if err := errors.Join(h.first.Close(), h.second.Close(), h.open()); err != nil {
		panic(fmt.Sprintf("reopening: %v", err))
	}
	return h.first
}

// Open opens a further handle, as another process would have.
func (h *harness) Open() persistence.Store {
	s, err := h.extra(mongostore.Open(context.Background(), h.config(1)))
	if err != nil {
		panic(fmt.Sprintf("opening a further handle: %v", err))
	}
	return s
}

// Lacks implements conformance.Lacking: plans are told differently by every server.
func (h *harness) Lacks() []conformance.Power {
	return []conformance.Power{conformance.CanExplain, conformance.CanHold}
}

func (h *harness) InUse(context.Context) (map[string]int, error) {
	return map[string]int{
		"connections of the first handle":  int(h.out[0].Load()),
		"connections of the second handle": int(h.out[1].Load()),
	}, nil
}

func (h *harness) Rows(ctx context.Context) (map[string]int, error) {
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

func (h *harness) change(ctx context.Context, collection, id string, set bson.D) error {
	res, err := h.db.Collection(collection).UpdateOne(ctx, bson.D{{Key: "_id", Value: id}}, bson.D{{Key: "$set", Value: set}})
	if err == nil && res.MatchedCount == 0 {
		err = fmt.Errorf("%s has no %q", collection, id)
	}
	return err
}

// find returns the document of a stage's workflow, and the field that the stage is.
func (h *harness) find(ctx context.Context, stage string) (workflow, field string, err error) {
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

func (h *harness) Tamper(ctx context.Context, table, id string, body []byte) error {
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

func (h *harness) SetVersion(ctx context.Context, id string, version int64) error {
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

func (h *harness) Intercept(f func(executed bool) (breaks bool)) {
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

func (h *harness) Freeze(context.Context) (func() error, error) {
	first, second := h.links[0].Freeze(), h.links[1].Freeze()
	return func() error { first(); second(); return nil }, nil
}

func (h *harness) Restart(context.Context) error {
	for _, l := range h.links {
		l.Break()
	}
	return nil
}

func (h *harness) OpenNarrow(ctx context.Context) (persistence.Store, error) {
	cfg := h.config(0)
	cfg.Options.SetMaxPoolSize(1)
	return h.extra(mongostore.Open(ctx, cfg))
}

func (h *harness) OpenTenant(ctx context.Context, name string) (persistence.Store, error) {
	cfg := h.config(0)
	cfg.Prefix = name
	return h.extra(mongostore.Open(ctx, cfg))
}

func (h *harness) OpenGiven(ctx context.Context, given bool) (persistence.Store, func(context.Context) bool, error) {
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
	client := h.server.Client(h.t)
	cfg := h.config(0)
	cfg.URI, cfg.Options, cfg.Monitor, cfg.Client = "", nil, nil, client
	s, err := h.extra(mongostore.Open(ctx, cfg))
	return s, func(ctx context.Context) bool { return client.Ping(ctx, nil) == nil }, err
}

// Unmigrated implements conformance.Migrator.
func (h *harness) Unmigrated(context.Context) (conformance.Database, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.empties++
	return &empty{h, fmt.Sprintf("empty%d_", h.empties)}, nil
}

// empty is a prefix under which there is nothing yet.
type empty struct {
	h      *harness
	prefix string
}

func (e *empty) Open(ctx context.Context, migrate bool) (persistence.Store, error) {
	cfg := e.h.config(0)
	cfg.Prefix, cfg.Migrate = e.prefix, migrate
	return e.h.extra(mongostore.Open(ctx, cfg))
}

func (e *empty) Schema(ctx context.Context) (string, error) {
	names, err := e.h.db.ListCollectionNames(ctx, bson.D{})
	if err != nil {
		return "", err
	}
	slices.Sort(names)
	var lines []string
	for _, name := range names {
		if !strings.HasPrefix(name, e.prefix) {
			continue
		}
		specs, err := e.h.db.Collection(name).Indexes().ListSpecifications(ctx)
		if err != nil {
			return "", err
		}
		for _, s := range specs {
			lines = append(lines, fmt.Sprintf("%s: %s %s", strings.TrimPrefix(name, e.prefix), s.Name, s.KeysDocument))
		}
	}
	slices.Sort(lines)
	var doc bson.Raw
	err = e.h.db.Collection(e.prefix+"meta").FindOne(ctx, bson.D{{Key: "_id", Value: "schema"}}).Decode(&doc)
	if err == nil {
		lines = append(lines, doc.String())
	} else if errors.Is(err, mongo.ErrNoDocuments) {
		err = nil
	}
	return strings.Join(lines, "\n"), err
}

func (e *empty) Newer(ctx context.Context) error {
	return e.h.change(ctx, e.prefix+"meta", "schema", bson.D{{Key: "n", Value: int64(9999)}})
}

// Obstruct implements conformance.Database: an index of the name of the one that is
// made last is there, of other keys.
func (e *empty) Obstruct(ctx context.Context) (func(context.Context) error, error) {
	workers := e.h.db.Collection(e.prefix + "workers").Indexes()
	name, err := workers.CreateOne(ctx, mongo.IndexModel{Keys: bson.D{{Key: "other", Value: 1}}, Options: options.Index().SetName("expires_1")})
	return func(ctx context.Context) error { return workers.DropOne(ctx, name) }, err
}
