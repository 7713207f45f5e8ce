package sqlstore

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/uptrace/bun"

	"github.com/stabilize-dev/go-stabilize/persistence"
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
	if err := persistence.CheckIDs(ids); err != nil {
		return err
	}
	return on.write(ctx, "delete", func(tx *wtx) error {
		if len(ids) == 0 {
			return errNothingToWrite
		}
		return s.remove(tx, ids)
	})
}

// remove deletes workflows with all that is theirs.
func (s *Store) remove(tx *wtx, ids []string) error {
	for pass := range slices.Chunk(ids, deletePass) {
		for _, of := range [...]struct{ table, column string }{
			{"workflows", "id"},
			{"headers", "workflow_id"},
			{"stages", "workflow_id"},
			{"dead_letters", "workflow_id"},
			{"places", "workflow_id"},
			{"events", "workflow_id"},
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
		if err := tx.stayAway(pass); err != nil {
			return err
		}
	}
	return nil
}

// stayAway fails if one of the workflows came while what is theirs was removed: in
// PostgreSQL the statements of a transaction do not see the same, and the first did
// not see it. All is done anew then.
func (t *wtx) stayAway(ids []string) error {
	if t.pg == nil {
		return nil
	}
	_, err := t.exec(stStayAway, textForms(ids))
	return err
}

// Prune implements persistence.WorkflowStore. In PostgreSQL it waits for no
// commit, and no two of them for each other: what is locked stays.
func (s *Store) Prune(ctx context.Context, finished ...*stabilize.Header) (removed int, err error) {
	return s.prune(ctx, s, finished)
}

func (s *Store) prune(ctx context.Context, on access, finished []*stabilize.Header) (removed int, err error) {
	if err := on.begin(ctx); err != nil {
		return 0, err
	}
	if err := persistence.CheckPrune(finished); err != nil {
		return 0, err
	}
	err = on.write(ctx, "prune", func(tx *wtx) error {
		ids, err := tx.prunable(finished)
		if err != nil {
			return err
		}
		if removed = len(ids); removed == 0 {
			return errNothingToWrite
		}
		return s.remove(tx, ids)
	})
	if err != nil {
		return 0, err
	}
	return removed, nil
}

// prunable returns those that are as they were read and have nothing addressed to
// them, each once.
func (t *wtx) prunable(finished []*stabilize.Header) (ids []string, err error) {
	if len(finished) == 0 {
		return nil, nil
	}
	var args []any
	if t.pg != nil {
		var id []string
		var version, created []int64
		for _, h := range finished {
			at := int64(absent)
			if us := maybeMicros(h.CreatedAt); us.Valid {
				at = us.Int64
			}
			id, version, created = append(id, textForm(h.ID)), append(version, h.Version), append(created, at)
		}
		args = []any{id, version, created}
	} else {
		rows := make([][3]any, len(finished))
		for i, h := range finished {
			rows[i] = [3]any{h.ID, h.Version, nil}
			if us := maybeMicros(h.CreatedAt); us.Valid {
				rows[i][2] = us.Int64
			}
		}
		list, _ := json.Marshal(rows) // text and numbers always can be
		args = []any{string(list)}
	}
	rows, err := t.query(stPrunable, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return slices.Compact(ids), rows.Err()
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
