package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Load implements persistence.WorkflowStore.
func (s *Store) Load(ctx context.Context, id string) (*stabilize.Workflow, error) {
	return load(ctx, s, id)
}

// load reads a workflow. One statement reads header and stages, so they are of one
// instant.
func load(ctx context.Context, on access, id string) (*stabilize.Workflow, error) {
	if err := on.begin(ctx); err != nil {
		return nil, err
	}
	if err := stabilize.CheckID("workflow id", id); err != nil {
		return nil, err
	}
	var w *stabilize.Workflow
	err := on.read(ctx, "load", func(ctx context.Context, st *prepared) error {
		w = nil
		rows, err := st.read[stLoad].QueryContext(ctx, id)
		if err != nil {
			return err
		}
		defer rows.Close()
		var stages []*stabilize.Stage
		for rows.Next() {
			var r aggregateRow
			if err := rows.Scan(&r.isStage, &r.id, &r.version, (*sql.RawBytes)(&r.body), &r.status); err != nil {
				return err
			}
			if r.isStage {
				stage, err := persistence.DecodeStage(r.id, r.version, r.body)
				if err != nil {
					return err
				}
				stages = append(stages, stage)
				continue
			}
			h, err := r.header()
			if err != nil {
				return err
			}
			w = &stabilize.Workflow{Header: *h}
		}
		if err := rows.Err(); err != nil || w == nil {
			return err
		}
		byPosition(stages)
		w.Stages = stages
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case w == nil:
		return nil, &stabilize.NotFoundError{Kind: "workflow", ID: id}
	}
	if w.Stages == nil {
		w.Stages = []*stabilize.Stage{}
	}
	w.Index()
	return w, nil
}

// Summary implements persistence.WorkflowStore.
func (s *Store) Summary(ctx context.Context, id string) (*stabilize.Header, error) {
	return summary(ctx, s, id)
}

func summary(ctx context.Context, on access, id string) (*stabilize.Header, error) {
	if err := on.begin(ctx); err != nil {
		return nil, err
	}
	if err := stabilize.CheckID("workflow id", id); err != nil {
		return nil, err
	}
	var h *stabilize.Header
	err := on.read(ctx, "summary", func(ctx context.Context, st *prepared) error {
		r := aggregateRow{id: id}
		err := st.read[stSummary].QueryRowContext(ctx, id).Scan(&r.version, &r.body, &r.status)
		if errors.Is(err, sql.ErrNoRows) {
			return &stabilize.NotFoundError{Kind: "workflow", ID: id}
		}
		if err != nil {
			return err
		}
		h, err = r.header()
		return err
	})
	if err != nil {
		return nil, err
	}
	return h, nil
}

// Unfinished implements persistence.Watcher.
func (s *Store) Unfinished(ctx context.Context, ids ...string) ([]string, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	if err := persistence.CheckIDs(ids); err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return nil, nil
	}
	var found []string
	err := s.read(ctx, "look for ends", func(ctx context.Context, st *prepared) error {
		found = nil
		rows, err := st.read[stUnfinished].QueryContext(ctx, s.pg.list(ids))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return err
			}
			found = append(found, id)
		}
		return rows.Err()
	})
	return found, err
}

// Refresh implements persistence.Refresher. A workflow that was deleted and
// created anew since is read whole.
func (s *Store) Refresh(ctx context.Context, id string, since int64) (*persistence.Delta, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	if err := persistence.CheckRefresh(id, since); err != nil {
		return nil, err
	}
	var d *persistence.Delta
	err := s.read(ctx, "refresh", func(ctx context.Context, st *prepared) error {
		d = nil
		rows, err := st.read[stRefresh].QueryContext(ctx, id, since)
		if err != nil {
			return err
		}
		defer rows.Close()
		var stages []*stabilize.Stage
		for rows.Next() {
			var r aggregateRow
			var whole bool
			if err := rows.Scan(&r.isStage, &r.id, &r.version, (*sql.RawBytes)(&r.body), &r.status, &whole); err != nil {
				return err
			}
			if r.isStage {
				stage, err := persistence.DecodeStage(r.id, r.version, r.body)
				if err != nil {
					return err
				}
				stages = append(stages, stage)
				continue
			}
			h, err := r.header()
			if err != nil {
				return err
			}
			d = &persistence.Delta{Header: *h, Whole: whole}
		}
		if err := rows.Err(); err != nil || d == nil {
			return err
		}
		byPosition(stages)
		d.Stages = stages
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case d == nil:
		return nil, &stabilize.NotFoundError{Kind: "workflow", ID: id}
	}
	return d, nil
}

// aggregateRow is a header or a stage.
type aggregateRow struct {
	isStage bool
	id      string
	version int64
	body    []byte
	status  string
}

// header decodes a header and checks that the columns beside it agree.
func (r *aggregateRow) header() (*stabilize.Header, error) {
	h, err := persistence.DecodeHeader(r.id, r.version, r.body)
	if err == nil && h.Status.String() != r.status {
		err = &stabilize.CorruptError{
			Table: "workflows", ID: r.id,
			Cause: fmt.Errorf("the row says status %q, its body %q", r.status, h.Status),
		}
	}
	return h, err
}

func byPosition(stages []*stabilize.Stage) {
	slices.SortStableFunc(stages, func(a, b *stabilize.Stage) int { return cmp.Compare(a.Position, b.Position) })
}
