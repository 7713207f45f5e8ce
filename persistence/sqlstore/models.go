package sqlstore

import (
	"github.com/uptrace/bun"

	"github.com/stabilize-dev/go-stabilize/queue"
)

// The rows that bun reads; the tables are in migrations. Table names have a
// prefix, so queries name them with table.

func (s *Store) table(name string) bun.Ident {
	if s.cfg.Schema != "" {
		return bun.Ident(s.cfg.Schema + "." + s.cfg.Prefix + name)
	}
	return bun.Ident(s.cfg.Prefix + name)
}

type messageRow struct {
	bun.BaseModel `bun:"table:messages,alias:m"`

	ID          string
	Kind        string
	Due         int64
	Leased      bool `bun:",scanonly"`
	Attempts    int
	MaxAttempts int
	Body        []byte
}

type deadRow struct {
	bun.BaseModel `bun:"table:dead_letters,alias:d"`

	ID          string
	Kind        string
	WorkflowID  string
	CreatedAt   int64
	DiedAt      int64
	Attempts    int
	MaxAttempts int
	Reason      string
	LastError   string
	Body        []byte
}

func (d *deadRow) letter() queue.DeadLetter {
	return queue.DeadLetter{
		ID: d.ID, Kind: d.Kind, Body: d.Body, WorkflowID: d.WorkflowID,
		Attempts: d.Attempts, MaxAttempts: d.MaxAttempts,
		CreatedAt: fromMicros(d.CreatedAt), DiedAt: fromMicros(d.DiedAt),
		Reason: d.Reason, LastError: d.LastError,
	}
}

type placeRow struct {
	bun.BaseModel `bun:"table:places,alias:p"`

	Key        string
	WorkflowID string
	Waiting    bool
	Lim        int
	Status     string `bun:",scanonly"` // of the workflow
}
