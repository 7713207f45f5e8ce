package mongoharness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore"
)

// Unmigrated implements conformance.Migrator.
func (h *Mongo) Unmigrated(context.Context) (conformance.Database, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.empties++
	return &empty{h, fmt.Sprintf("empty%d_", h.empties)}, nil
}

// empty is a prefix under which there is nothing yet.
type empty struct {
	h      *Mongo
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
