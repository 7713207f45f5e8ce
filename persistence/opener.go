package persistence

import (
	"context"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Settings are what a program hands to a store that is opened for it. A nil field
// means the store's default.
type Settings struct {
	Clock    stabilize.Clock
	Messages *queue.Registry
	IDs      *stabilize.IDs
}

// Opener opens a store, creating and migrating its tables as needed. Who calls it
// closes the store. stores.DSN makes one from a data source name.
type Opener func(ctx context.Context, with Settings) (Store, error)
