package sqlstore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

const defaultPage = 100

// Query implements persistence.WorkflowStore.
func (s *Store) Query(ctx context.Context, q persistence.Query) (persistence.Page, error) {
	if err := s.begin(ctx); err != nil {
		return persistence.Page{}, err
	}
	if err := checkQuery(&q); err != nil {
		return persistence.Page{}, err
	}
	after, err := parseToken(&q)
	if err != nil {
		return persistence.Page{}, err
	}
	text, args := s.queryText(&q, after)
	var page persistence.Page
	err = s.read(ctx, "query", func(ctx context.Context, _ *prepared) error {
		page = persistence.Page{Workflows: make([]*stabilize.Header, 0, min(q.Limit, defaultPage))}
		rows, err := s.r.DB.QueryContext(ctx, text, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		var last cursor
		for rows.Next() {
			if len(page.Workflows) == q.Limit {
				page.Next = last.token(&q)
				return nil
			}
			var r aggregateRow
			if err := rows.Scan(&last.Sort, &r.id, &r.version, &r.status, (*sql.RawBytes)(&r.body)); err != nil {
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

// checkQuery refuses what cannot be asked and brings the rest to one form.
func checkQuery(q *persistence.Query) error {
	if err := stabilize.CheckText("query application", q.Application); err != nil {
		return err
	}
	if err := stabilize.CheckText("query config id", q.ConfigID); err != nil {
		return err
	}
	for _, st := range q.Statuses {
		if !st.Valid() {
			return stabilize.Invalid("query status", "%s is not one", st)
		}
	}
	switch {
	case q.Limit < 0:
		return stabilize.Invalid("query limit", "%d is negative", q.Limit)
	case q.Limit == 0:
		q.Limit = defaultPage
	}
	if !q.StartedFrom.IsZero() && !q.StartedBefore.IsZero() && q.StartedFrom.After(q.StartedBefore) {
		return stabilize.Invalid("query started from", "%s is after started before, %s", q.StartedFrom, q.StartedBefore)
	}
	statuses := slices.Clone(q.Statuses)
	slices.Sort(statuses)
	q.Statuses = slices.Compact(statuses)
	return nil
}

// queryText makes the statement. With an index led by what must be equal, the
// rows of one status come in order; so each status is a query of its own, no
// longer than a page, and the database merges them.
func (s *Store) queryText(q *persistence.Query, after *cursor) (string, []any) {
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
		add("sort_at < ?", int64(notStarted))
	}
	if after != nil {
		add("(sort_at, id) < (?, ?)", after.Sort, after.ID)
	}
	if q.Application != "" || q.ConfigID != "" {
		if len(q.Statuses) == 0 {
			q.Statuses = stabilize.Statuses()
		}
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
	if len(q.Statuses) == 0 {
		part(where)
		args = append(append(args, common...), q.Limit+1)
	}
	for i, st := range q.Statuses {
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

// cursor is the last row of a page.
type cursor struct {
	Sort int64  `json:"s"`
	ID   string `json:"i"`
	Sum  []byte `json:"h"` // of the query and the two above: a token is of its query, whole, and ours
}

func (c cursor) sum(q *persistence.Query) []byte {
	statuses := q.Statuses
	if len(statuses) == 0 || len(statuses) == len(stabilize.Statuses()) {
		statuses = nil // all and any are the same
	}
	text, _ := json.Marshal([]any{
		q.Application, q.ConfigID, statuses, maybeMicros(q.StartedFrom), maybeMicros(q.StartedBefore), c.Sort, c.ID,
	})
	sum := sha256.Sum256(text)
	return sum[:12]
}

func (c cursor) token(q *persistence.Query) string {
	c.Sum = c.sum(q)
	text, _ := json.Marshal(c) // always can be
	return base64.RawURLEncoding.EncodeToString(text)
}

func parseToken(q *persistence.Query) (*cursor, error) {
	if q.Token == "" {
		return nil, nil
	}
	text, err := base64.RawURLEncoding.Strict().DecodeString(q.Token)
	var c cursor
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil || !slices.Equal(c.Sum, c.sum(q)) {
		return nil, stabilize.Invalid("page token", "is not one of this query")
	}
	return &c, nil
}
