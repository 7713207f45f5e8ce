package sqlstore

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
)

// textQuery is a querier that the driver prepares by itself, if at all.
type textQuery struct {
	db   queries
	text string
	pg   bool
}

// queries is a *sql.DB or *sql.Tx.
type queries interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func (q textQuery) args(args []any) []any {
	if q.pg {
		return textArgs(args)
	}
	return args
}

func (q textQuery) QueryContext(ctx context.Context, args ...any) (*sql.Rows, error) {
	return q.db.QueryContext(ctx, q.text, q.args(args)...)
}

func (q textQuery) QueryRowContext(ctx context.Context, args ...any) *sql.Row {
	return q.db.QueryRowContext(ctx, q.text, q.args(args)...)
}

func (q textQuery) Close() error { return nil }

// statements returns the texts for the database and its tables' names.
func (c *Config) statements() [stCount]string {
	if !c.isPostgres() {
		return statementTexts(c.Prefix)
	}
	texts := statementTexts("{}")
	for id, text := range postgresTexts() {
		texts[id] = text
	}
	for id := range texts {
		texts[id] = c.text(texts[id])
	}
	return texts
}

// text makes a statement of one that is written for SQLite; {} stands for what
// comes before the name of a table.
func (c *Config) text(text string) string {
	text = strings.ReplaceAll(text, "{}", c.qualifier()+c.Prefix)
	if !c.isPostgres() {
		return text
	}
	text = strings.ReplaceAll(text, "CROSS JOIN", "JOIN") // SQLite's word for a fixed order
	var out strings.Builder
	n := 0
	for i, r := range text {
		switch {
		case r != '?':
			out.WriteRune(r)
		case i+1 < len(text) && text[i+1] >= '0' && text[i+1] <= '9':
			out.WriteByte('$')
		default:
			n++
			out.WriteString("$" + strconv.Itoa(n))
		}
	}
	return out.String()
}

// qualifier is the schema before the name of a table.
func (c *Config) qualifier() string {
	if c.Schema == "" {
		return ""
	}
	return `"` + c.Schema + `".`
}

// postgresTexts are the statements that PostgreSQL says in another way. Rows that
// are to be changed are locked by the statement that reads them, several in the
// order of their keys; a row of workers is read with the weaker lock, which only
// its removal waits for.
func postgresTexts() map[statement]string {
	const found = "seq, id, kind, workflow_id, due, created_at, attempts, max_attempts, last_error, body"
	return map[statement]string{
		// A claim is a set, see setTexts, and what is written is locked row by row.
		stLock: "", stClaimable: "", stLease: "",

		stVersions:   `SELECT id, version, created_at, status FROM {}workflows WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE`,
		stUnfinished: `SELECT id FROM {}workflows WHERE id = ANY($1::text[]) AND status NOT IN (` + endings() + `)`,
		stKnownMessages: `WITH live AS (SELECT id, lease FROM {}messages WHERE id = ANY($1::text[]) ORDER BY id FOR UPDATE)
			SELECT id, lease, 0 FROM live
			UNION ALL SELECT id, NULL, 1 FROM {}dead_letters WHERE id = ANY($1::text[])`,
		stLiveWorker: `SELECT fence FROM {}workers WHERE id = ? AND expires > ? FOR KEY SHARE`,
		stPlaces: `SELECT p.seq, p.workflow_id, w.status FROM {}places p
			LEFT JOIN {}workflows w ON w.id = p.workflow_id WHERE p.key = $1 AND p.waiting = $2 AND p.seq > $3 ORDER BY p.seq LIMIT 200`,

		stPrunable: `SELECT w.id FROM unnest($1::text[], $2::bigint[], $3::bigint[]) p (id, version, created)
			JOIN {}workflows w ON w.id = p.id
			WHERE w.version = p.version AND w.created_at IS NOT DISTINCT FROM nullif(p.created, -9223372036854775808)
			AND NOT EXISTS (SELECT FROM {}messages m WHERE m.worker IS NULL AND m.workflow_id = w.id)
			AND w.id NOT IN (SELECT workflow_id FROM {}messages WHERE worker IS NOT NULL)
			AND NOT EXISTS (SELECT FROM {}dead_letters d WHERE d.workflow_id = w.id)
			FOR UPDATE OF w SKIP LOCKED`,

		stWorker: `SELECT fence, expires FROM {}workers WHERE id = ? FOR NO KEY UPDATE`,
		stSetEar: `WITH ear AS (
				UPDATE {}workers SET ear = nullif($2::text, '') WHERE id = $1 AND ear IS DISTINCT FROM nullif($2::text, ''))
			SELECT EXISTS (SELECT FROM {}workers WHERE id <> $1 AND expires > $3),
				$4::bool AND EXISTS (SELECT FROM {}messages WHERE worker IS NULL AND lane IN (0, 1) AND due <= $3 AND attempts < max_attempts)`,
		stAddWorker: `INSERT INTO {}workers (id, expires) VALUES (?, ?) RETURNING fence`,
		stHandOver: `UPDATE {}messages SET worker = $1
			WHERE id IN (SELECT id FROM {}messages WHERE worker = $2 ORDER BY id FOR UPDATE)`,
		stVoid: `UPDATE {}messages SET worker = NULL, lease = NULL
			WHERE id IN (SELECT id FROM {}messages WHERE worker = $1 ORDER BY id FOR UPDATE)`,
		stLapsed: `SELECT fence FROM {}workers WHERE expires <= $1 ORDER BY fence FOR UPDATE SKIP LOCKED`,
		stFreeLapsed: `UPDATE {}messages SET worker = NULL
			WHERE id IN (SELECT id FROM {}messages WHERE worker = ANY($1::bigint[]) ORDER BY id FOR UPDATE SKIP LOCKED)`,
		stDropLapsed: `DELETE FROM {}workers w WHERE fence = ANY($1::bigint[])
			AND NOT EXISTS (SELECT FROM {}messages m WHERE m.worker = w.fence)`,
		stExhausted: `SELECT ` + found + ` FROM {}messages
			WHERE worker IS NULL AND attempts >= max_attempts AND due <= ? ORDER BY due, seq LIMIT ? FOR UPDATE SKIP LOCKED`,
		stReturn: `UPDATE {}messages SET worker = NULL, lease = NULL, attempts = greatest(attempts - 1, 0)
			WHERE id = ? AND lease = ?`,
		// A claim is not stopped by an id that was given to a second message.
		stBury: `INSERT INTO {}dead_letters
			(id, kind, lane, workflow_id, created_at, died_at, attempts, max_attempts, reason, last_error, body)
			SELECT id, kind, lane, workflow_id, created_at, $1::bigint, attempts, max_attempts, $2::text, $3::bytea, body
			FROM {}messages WHERE id = $4
			ON CONFLICT (id) DO UPDATE SET died_at = excluded.died_at, attempts = excluded.attempts, reason = excluded.reason,
				last_error = excluded.last_error, body = excluded.body`,
		stDropSeq: `DELETE FROM {}messages WHERE id = ?`,
		stRevive: `INSERT INTO {}messages (id, kind, lane, workflow_id, due, created_at, attempts, max_attempts, last_error, body)
			SELECT id, kind, lane, workflow_id, $1::bigint, created_at, 0, max_attempts, '', body FROM {}dead_letters WHERE id = $2`,

		stLockKeys:    `SELECT pg_advisory_xact_lock(n) FROM unnest($1::bigint[]) n`,
		stLockWorkers: `SELECT 1 FROM {}workers WHERE id = ANY($1::text[]) ORDER BY id FOR KEY SHARE`,
		stStayAway:    `SELECT 1 / (NOT EXISTS (SELECT FROM {}workflows WHERE id = ANY($1::text[])))::int`,
		stBuried:      `SELECT 1 / (NOT EXISTS (SELECT FROM {}dead_letters WHERE id = ANY($1::text[])))::int`,
		stUncount:     `UPDATE {}messages SET attempts = attempts - 1 WHERE id = ? AND lease = ?`,

		stRefresh: `SELECT 0, w.id, w.version, h.body, w.status, w.removed_at > $2 OR w.version < $2
			FROM {}workflows w LEFT JOIN {}headers h ON h.workflow_id = w.id WHERE w.id = $1
			UNION ALL SELECT 1, s.id, s.version, s.body, '', false FROM {}workflows w JOIN {}stages s ON s.workflow_id = w.id
			WHERE w.id = $1 AND (s.version > $2 OR w.removed_at > $2 OR w.version < $2)`,
	}
}

// setTexts are the statements over a set of commits, sent together. Each write asks
// for the version, the lease or what else it needs, and fails (stateMoved, or a key
// that is taken) where it finds less than one row for each change. So a batch that
// nothing stands against needs no more than the writes. What fails is rolled back and
// sent again behind the verdict, which tells the commits that are refused: it is kept
// in a setting that ends with the transaction (without one nothing is lost), so no
// statement waits for an answer. The verdict locks nothing: where another transaction
// comes between, the writes fail again, and all is done anew. Rows are taken in the
// order of their keys.
type setTexts struct {
	keys, workers string // lock them
	workflows     string // locks them, where admissions break their order
	verdict       string
	remove, drop  string
	begin, move   map[writing]string // the writes of new workflows, and of others
	put           map[writing]string // those of the latter's stages
	events        string             // adds them
	buried        string             // none of the ids just added
	held          string             // which workflows others have locked
	judge         string             // an admission
	take          string             // of a claim
}

func newSetTexts(c *Config) setTexts {
	const (
		lost = `((SELECT coalesce(nullif(current_setting('stabilize.lost', true), ''), '{}')::int[])::int[])`
	)
	text := func(s string) string {
		return strings.NewReplacer("{}", c.qualifier()+c.Prefix, "{lost}", lost).Replace(s)
	}
	begin, move, put := map[writing]string{}, map[writing]string{}, map[writing]string{}
	for _, w := range writings() {
		begin[w], move[w], put[w] = text(w.begin()), text(w.move()), text(w.put())
	}
	return setTexts{
		begin: begin, move: move, put: put,
		workers:   text(`SELECT 1 FROM {}workers WHERE id = ANY($1::text[]) ORDER BY id FOR KEY SHARE`),
		keys:      text(`SELECT pg_advisory_xact_lock(n) FROM unnest($1::bigint[]) n`),
		workflows: text(`SELECT 1 FROM {}workflows WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE`),
		// Each row is a reason why the commit is refused; the first of a commit, by step
		// and item, is its error. Not EXISTS beside OR: the plan may read the whole table.
		verdict: text(`WITH bad (commit, step, item, fact) AS (
			SELECT c.commit, 1, 0::bigint, w.version
				FROM unnest($1::int[], $2::text[], $3::bigint[], $4::bool[], $5::bigint[]) c (commit, workflow, expect, headed, created)
				LEFT JOIN {}workflows w ON w.id = c.workflow
				WHERE CASE WHEN c.expect = 0 THEN w.id IS NOT NULL
					ELSE w.version IS DISTINCT FROM c.expect
						OR c.headed AND w.created_at IS DISTINCT FROM nullif(c.created, -9223372036854775808) END
			UNION ALL SELECT h.commit, 2, h.item, NULL
				FROM unnest($6::int[], $7::text[], $8::text[]) WITH ORDINALITY h (commit, id, token, item)
				LEFT JOIN {}messages m ON m.id = h.id WHERE m.lease IS DISTINCT FROM h.token
			UNION ALL SELECT g.commit, 3, g.item, NULL
				FROM unnest($9::int[], $10::text[], $11::bool[]) WITH ORDINALITY g (commit, id, freed, item)
				WHERE NOT g.freed AND (SELECT true FROM {}messages m WHERE m.id = g.id)
					OR (SELECT true FROM {}dead_letters d WHERE d.id = g.id)
			UNION ALL SELECT r.commit, 4, r.item, NULL
				FROM unnest($12::int[], $13::text[], $14::text[]) WITH ORDINALITY r (commit, workflow, id, item)
				WHERE NOT EXISTS (SELECT FROM {}stages s WHERE s.workflow_id = r.workflow AND s.id = r.id)
			UNION ALL SELECT p.commit, 5, p.item, NULL
				FROM unnest($15::int[], $16::text[], $17::text[], $18::text[], $19::bigint[], $20::bigint[])
					WITH ORDINALITY p (commit, workflow, id, ref, round, position, item)
				JOIN {}stages s ON s.workflow_id = p.workflow AND s.id = p.id
				WHERE s.ref <> p.ref OR s.round <> p.round OR s.position <> p.position)
			SELECT set_config('stabilize.lost', '{' || coalesce(string_agg(DISTINCT commit::text, ','), '') || '}', true),
				array_agg(commit), array_agg(step), array_agg(item), array_agg(coalesce(fact, 0))
			FROM bad`),

		remove: text(`DELETE FROM {}stages s USING unnest($1::int[], $2::text[], $3::text[]) r (commit, workflow, id)
			WHERE s.workflow_id = r.workflow AND s.id = r.id AND r.commit <> ALL {lost}`),
		drop: text(`DELETE FROM {}messages m USING (SELECT * FROM unnest($1::int[], $2::text[]) d (commit, id) ORDER BY id COLLATE "C") d
			WHERE m.id = d.id AND d.commit <> ALL {lost}`),

		events: text(`INSERT INTO {}events (workflow_id, version, first, events, body)
			SELECT e.workflow, e.version, e.first, e.events, e.body
			FROM unnest($1::int[], $2::text[], $3::bigint[], $4::int[], $5::int[], $6::bytea[])
				WITH ORDINALITY e (commit, workflow, version, first, events, body, item)
			WHERE e.commit <> ALL {lost} ORDER BY e.item`),

		buried: text(`SELECT 1 / (NOT EXISTS (SELECT FROM unnest($1::int[], $2::text[]) g (commit, id)
			JOIN {}dead_letters d ON d.id = g.id WHERE g.commit <> ALL {lost}))::int`),

		held: text(`WITH free AS MATERIALIZED (
				SELECT id FROM {}workflows WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
			SELECT id FROM {}workflows WHERE id = ANY($1::text[]) AND id NOT IN (SELECT id FROM free)`),
		judge: text(judgeText()),

		// A claim that the server forgets in a crash is a lease that lapsed: it need not
		// wait for the disk. With $7 (hasty) it is all that is sent, and does nothing when
		// there is more to do than to take what is due; the row 1 says that there is not.
		// It shortens no lease: it may have been on its way for long.
		// A workflow that nobody has changed since it was made comes along with its first
		// message, unless it is large: nobody can have it in memory but who made it.
		take: text(`WITH hasty AS MATERIALIZED (SELECT $7::bool
				AND EXISTS (SELECT FROM {}workers WHERE id = $1::text AND expires <= $2::bigint AND expires - $3::bigint > ($2::bigint - $3::bigint) * 2 / 3)
				AND NOT EXISTS (SELECT FROM {}workers WHERE expires <= $3::bigint)
				AND NOT EXISTS (SELECT FROM {}messages WHERE worker IS NULL AND attempts >= max_attempts AND due <= $3::bigint) AS ok),
			control AS MATERIALIZED (
				SELECT id FROM {}messages WHERE worker IS NULL AND lane = 0 AND due <= $3::bigint AND attempts < max_attempts
					AND (NOT $7::bool OR (SELECT ok FROM hasty))
				ORDER BY due, seq LIMIT $4::bigint FOR UPDATE SKIP LOCKED),
			work AS MATERIALIZED (
				SELECT id FROM {}messages WHERE worker IS NULL AND lane = 1 AND due <= $3::bigint AND attempts < max_attempts
					AND (NOT $7::bool OR (SELECT ok FROM hasty))
				ORDER BY due, seq LIMIT $5::bigint FOR UPDATE SKIP LOCKED),
			f AS MATERIALIZED (SELECT id FROM control UNION ALL SELECT id FROM work),
			self AS (
				UPDATE {}workers SET expires = greatest(expires, $2::bigint) WHERE id = $1::text AND expires > $3::bigint AND (NOT $7::bool OR EXISTS (SELECT FROM f))
				RETURNING fence, set_config('synchronous_commit', 'off', true)),
			got AS (
				UPDATE {}messages m SET worker = self.fence, lease = $6::text || m.seq::text, attempts = m.attempts + 1
				FROM self CROSS JOIN f WHERE m.id = f.id
				RETURNING m.seq, m.id, m.kind, m.lane, m.workflow_id, m.due, m.created_at, m.attempts, m.max_attempts, m.last_error, m.body, m.lease),
			fresh AS MATERIALIZED (
				SELECT w.id, w.version, w.status FROM (SELECT DISTINCT workflow_id FROM got) g JOIN {}workflows w ON w.id = g.workflow_id
				WHERE w.version = 1 AND 65536 >= (SELECT sum(octet_length(s.body)) FROM {}stages s WHERE s.workflow_id = w.id)
					AND 65536 >= (SELECT octet_length(h.body) FROM {}headers h WHERE h.workflow_id = w.id))
			SELECT 0, seq, id, kind, lane, workflow_id, due, created_at, attempts, max_attempts, last_error, body, lease FROM got
			UNION ALL SELECT 1, 0, '', '', 0, '', 0, 0, 0, 0, '', '', '' FROM hasty WHERE ok AND (NOT EXISTS (SELECT FROM f) OR EXISTS (SELECT FROM self))
			UNION ALL SELECT 2, w.version, w.id, w.status, 0, w.id, 0, 0, 0, 0, '', h.body, '' FROM fresh w JOIN {}headers h ON h.workflow_id = w.id
			UNION ALL SELECT 3, s.version, s.id, '', 0, w.id, 0, 0, 0, 0, '', s.body, '' FROM fresh w JOIN {}stages s ON s.workflow_id = w.id`),
	}
}
