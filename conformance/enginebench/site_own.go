package enginebench

import (
	"context"
	"os"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// ownSite is a directory for the directories of somebody's own store.
type ownSite struct {
	dir    string
	opener Opener
}

func openOwnSite(open Opener, dir string) (site, error) {
	dir, err := os.MkdirTemp(dir, "enginebench-")
	if err != nil {
		return nil, stabilize.Invalid("-dir", "no directory can be made there: %v", err)
	}
	return &ownSite{dir: dir, opener: open}, nil
}

func (s *ownSite) open(ctx context.Context, clock stabilize.Clock) (persistence.Store, error) {
	dir, err := os.MkdirTemp(s.dir, "store-")
	if err != nil {
		return nil, err
	}
	return s.opener(ctx, dir, clock)
}

func (*ownSite) shared() (string, bool, error) {
	return "", false, stabilize.Invalid("-workers", "one's own store is opened by one process")
}
func (*ownSite) limit(context.Context) (limit, error) { return nil, nil }
func (s *ownSite) written() int64                     { return written(s.dir) }
func (s *ownSite) close()                             { _ = os.RemoveAll(s.dir) }
