package sqlstore

import (
	"context"
	"slices"

	"github.com/uptrace/bun"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// deletePass is how many ids one statement names.
const deletePass = 200

// Delete implements persistence.WorkflowStore; all of it or nothing.
func (s *Store) Delete(ctx context.Context, ids ...string) error { return s.delete(ctx, s, ids) }

func (s *Store) delete(ctx context.Context, on access, ids []string) error {
	if err := on.begin(ctx); err != nil {
		return err
	}
	for _, id := range ids {
		if err := stabilize.CheckID("workflow id", id); err != nil {
			return err
		}
	}
	return on.write(ctx, "delete", func(tx *wtx) error {
		if len(ids) == 0 {
			return errNothingToWrite
		}
		for pass := range slices.Chunk(ids, deletePass) {
			for _, of := range [...]struct{ table, column string }{
				{"workflows", "id"},
				{"headers", "workflow_id"},
				{"stages", "workflow_id"},
				{"dead_letters", "workflow_id"},
				{"places", "workflow_id"},
			} {
				_, err := tx.NewDelete().TableExpr("?", s.table(of.table)).
					Where("? IN (?)", bun.Ident(of.column), bun.List(pass)).Exec(tx.ctx)
				if err != nil {
					return err
				}
			}
			_, err := tx.NewDelete().TableExpr("?", s.table("messages")).Where("id IN (?)", s.addressed(pass...)).Exec(tx.ctx)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// addressed selects the ids of the messages to workflows. The index by workflow has
// those that are free, the others are found by their workers.
func (s *Store) addressed(workflows ...string) *bun.SelectQuery {
	some := func(leased string) *bun.SelectQuery {
		return s.r.NewSelect().TableExpr("?", s.table("messages")).Column("id").
			Where("worker IS "+leased).Where("workflow_id IN (?)", bun.List(workflows))
	}
	return some("NULL").UnionAll(some("NOT NULL"))
}
