package sqlstore

import (
	"context"
	"database/sql"
	"strings"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Query implements persistence.WorkflowStore.
func (s *Store) Query(ctx context.Context, q persistence.Query) (persistence.Page, error) {
	return s.query(ctx, s, q)
}

func (s *Store) query(ctx context.Context, on access, q persistence.Query) (persistence.Page, error) {
	if err := on.begin(ctx); err != nil {
		return persistence.Page{}, err
	}
	after, err := q.Check()
	if err != nil {
		return persistence.Page{}, err
	}
	text, args := s.queryText(&q, after)
	var page persistence.Page
	err = on.read(ctx, "query", func(ctx context.Context, st *prepared) error {
		page = persistence.Page{Workflows: make([]*stabilize.Header, 0, min(q.Limit, persistence.DefaultLimit))}
		rows, err := st.sql.QueryContext(ctx, text, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		var last persistence.Place
		for rows.Next() {
			if len(page.Workflows) == q.Limit {
				page.Next = q.MakeToken(last)
				return nil
			}
			var r aggregateRow
			if err := rows.Scan(&last.Start, &r.id, &r.version, &r.status, (*sql.RawBytes)(&r.body)); err != nil {
				return err
			}
			last.ID = r.id
			h, err := r.header()
			if err != nil {
				return err
			}
			page.Workflows = append(page.Workflows, h)
		}
		return rows.Err()
	})
	if err != nil {
		return persistence.Page{}, err
	}
	return page, nil
}

// queryText makes the statement. With an index led by what must be equal, the
// rows of one status come in order; so each status is a query of its own, no
// longer than a page, and the database merges them.
func (s *Store) queryText(q *persistence.Query, after *persistence.Place) (string, []any) {
	var where []string
	var common []any
	add := func(condition string, values ...any) {
		where = append(where, condition)
		common = append(common, values...)
	}
	if q.ConfigID != "" {
		add("config_id = ? AND config_id <> ''", s.column(q.ConfigID))
	}
	if q.Application != "" {
		add("application = ?", s.column(q.Application))
	}
	if !q.StartedFrom.IsZero() {
		add("sort_at >= ?", ceilMicros(q.StartedFrom))
	}
	switch {
	case !q.StartedBefore.IsZero():
		add("sort_at < ?", ceilMicros(q.StartedBefore))
	case !q.StartedFrom.IsZero():
		add("sort_at < ?", int64(persistence.NotStarted))
	}
	if after != nil {
		add("(sort_at, id) < (?, ?)", after.Start, after.ID)
	}
	statuses := q.Statuses
	if len(statuses) == 0 && (q.Application != "" || q.ConfigID != "") {
		statuses = stabilize.Statuses()
	}
	var text strings.Builder
	var args []any
	part := func(conditions []string) {
		text.WriteString("SELECT sort_at, id FROM {}workflows")
		if len(conditions) > 0 {
			text.WriteString(" WHERE " + strings.Join(conditions, " AND "))
		}
		text.WriteString(" ORDER BY sort_at DESC, id DESC LIMIT ?")
	}
	if len(statuses) == 0 {
		part(where)
		args = append(append(args, common...), q.Limit+1)
	}
	for i, st := range statuses {
		if i > 0 {
			text.WriteString(" UNION ALL ")
		}
		text.WriteString("SELECT * FROM (")
		part(append([]string{"status = ?"}, where...))
		text.WriteString(") AS part")
		args = append(append(append(args, st.String()), common...), q.Limit+1)
	}
	args = append(args, q.Limit+1)
	return s.cfg.text("SELECT w.sort_at, w.id, w.version, w.status, h.body FROM (SELECT sort_at, id FROM (" + text.String() +
		") AS found ORDER BY sort_at DESC, id DESC LIMIT ?) p" +
		" CROSS JOIN {}workflows w ON w.id = p.id" +
		" LEFT JOIN {}headers h ON h.workflow_id = p.id" +
		" ORDER BY p.sort_at DESC, p.id DESC"), args
}
