package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/uptrace/bun"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// statement names one of the prepared statements of the hot path.
type statement int

const (
	stLock statement = iota

	// Commits.
	stVersions
	stKnownMessages
	stLiveWorker
	stBumpRemoved
	stCreateWorkflow
	stUpdateWorkflow
	stCreateHeader
	stUpdateHeader
	stRemoveStage
	stOwnPlace
	stPlaces
	stDropPlace
	stAddPlace
	stAskAgain
	stPrunable

	// Commits, many rows at a time: each stands for one statement per size.
	stBump
	_
	_
	stPutStage
	_
	_
	stDropMessage
	_
	_
	stAddMessage
	_
	_
	stAddEvents
	_
	_

	// The queue.
	stPeek
	stWorker
	stRenewWorker
	stSetEar
	stAddWorker
	stFreeLapsed
	stDropLapsed
	stClaimable
	stLease
	stExhausted
	stHandOver
	stHeld
	stVoid
	stDropWorker
	stAck
	stRelease
	stReturn
	stBury
	stDropSeq
	stRevive
	stDropDead

	// PostgreSQL's alone.
	stLockKeys
	stLockWorkers
	stBuried
	stStayAway
	stUncount
	stLapsed

	// Reading.
	stLoad
	stSummary
	stUnfinished
	stRefresh

	stCount = iota
)

// reads reports that a statement is used on the pool of readers.
func (id statement) reads() bool {
	return id == stPeek || id >= stLoad
}

// statementTexts returns the statements for a table prefix; {} stands for it.
func statementTexts(prefix string) [stCount]string {
	texts := [stCount]string{
		stLock: `DELETE FROM {}workers WHERE fence IS NULL`,

		stVersions: `SELECT w.id, w.version, w.created_at, w.status FROM json_each(?) j
			CROSS JOIN {}workflows w ON w.id = j.value`,
		stKnownMessages: `SELECT m.id, m.lease, 0 FROM json_each(?1) j CROSS JOIN {}messages m ON m.id = j.value
			UNION ALL SELECT d.id, NULL, 1 FROM json_each(?1) j CROSS JOIN {}dead_letters d ON d.id = j.value`,
		stLiveWorker:  `SELECT fence FROM {}workers WHERE id = ? AND expires > ?`,
		stBumpRemoved: `UPDATE {}workflows SET version = ?1, removed_at = ?1 WHERE id = ?2`,
		stCreateWorkflow: `INSERT INTO {}workflows (id, version, removed_at, application, config_id, status, sort_at, created_at)
			VALUES (?, 1, 0, ?, ?, ?, ?, ?)`,
		stUpdateWorkflow: `UPDATE {}workflows SET application = ?, config_id = ?, status = ?, sort_at = ? WHERE id = ?`,
		stCreateHeader:   `INSERT INTO {}headers (workflow_id, body) VALUES (?, ?)`,
		stUpdateHeader:   `UPDATE {}headers SET body = ? WHERE workflow_id = ?`,
		stRemoveStage:    `DELETE FROM {}stages WHERE workflow_id = ? AND id = ?`,
		stOwnPlace:       `SELECT seq, waiting FROM {}places WHERE key = ? AND workflow_id = ?`,
		stPlaces: `SELECT p.seq, p.workflow_id, w.status FROM {}places p
			LEFT JOIN {}workflows w ON w.id = p.workflow_id WHERE p.key = ? AND p.waiting = ? ORDER BY p.seq`,
		stDropPlace: `DELETE FROM {}places WHERE seq = ?`,
		stAddPlace:  `INSERT INTO {}places (key, workflow_id, waiting, lim) VALUES (?, ?, ?, ?)`,
		stAskAgain:  `UPDATE {}places SET lim = ? WHERE seq = ?`,

		stPrunable: `SELECT w.id FROM json_each(?) j CROSS JOIN {}workflows w ON w.id = json_extract(j.value, '$[0]')
			WHERE w.version = json_extract(j.value, '$[1]') AND w.created_at IS json_extract(j.value, '$[2]')
			AND NOT EXISTS (SELECT 1 FROM {}messages m WHERE m.worker IS NULL AND m.workflow_id = w.id)
			AND w.id NOT IN (SELECT workflow_id FROM {}messages WHERE worker IS NOT NULL)
			AND NOT EXISTS (SELECT 1 FROM {}dead_letters d WHERE d.workflow_id = w.id)`,

		stPeek: `SELECT (SELECT expires FROM {}workers WHERE id = ?1),
			EXISTS (SELECT 1 FROM {}workers WHERE expires <= ?2)
				OR EXISTS (SELECT 1 FROM {}messages WHERE worker IS NULL AND attempts >= max_attempts AND due <= ?2),
			EXISTS (SELECT 1 FROM {}messages WHERE worker IS NULL AND lane = 0 AND due <= ?2),
			EXISTS (SELECT 1 FROM {}messages WHERE worker IS NULL AND lane = 1 AND due <= ?2)`,
		stWorker:      `SELECT fence, expires FROM {}workers WHERE id = ?`,
		stRenewWorker: `UPDATE {}workers SET expires = ? WHERE fence = ?`,
		stAddWorker:   `INSERT INTO {}workers (id, expires) VALUES (?, ?)`,
		stHandOver:    `UPDATE {}messages SET worker = ? WHERE worker = ?`,
		stFreeLapsed: `UPDATE {}messages SET worker = NULL
			WHERE worker IN (SELECT fence FROM {}workers WHERE expires <= ?)`,
		stDropLapsed: `DELETE FROM {}workers WHERE expires <= ?`,
		stClaimable: `SELECT seq, id, kind, workflow_id, due, created_at, attempts, max_attempts, last_error, body FROM {}messages
			WHERE worker IS NULL AND lane = ? AND due <= ? ORDER BY due, seq LIMIT ?`,
		stExhausted: `SELECT seq, id, kind, workflow_id, due, created_at, attempts, max_attempts, last_error, body FROM {}messages
			WHERE worker IS NULL AND attempts >= max_attempts AND due <= ? ORDER BY due, seq LIMIT ?`,
		stLease:      `UPDATE {}messages SET worker = ?, lease = ?, attempts = attempts + 1 WHERE seq = ?`,
		stHeld:       `SELECT id, lease FROM {}messages WHERE worker = ?`,
		stVoid:       `UPDATE {}messages SET worker = NULL, lease = NULL WHERE worker = ?`,
		stDropWorker: `DELETE FROM {}workers WHERE fence = ?`,
		stAck:        `DELETE FROM {}messages WHERE id = ? AND lease = ?`,
		stRelease:    `UPDATE {}messages SET worker = NULL, lease = NULL, due = ?, last_error = ? WHERE id = ? AND lease = ?`,
		stReturn: `UPDATE {}messages SET worker = NULL, lease = NULL, attempts = max(attempts - 1, 0)
			WHERE id = ? AND lease = ?`,
		stBury: `INSERT INTO {}dead_letters
			(id, kind, lane, workflow_id, created_at, died_at, attempts, max_attempts, reason, last_error, body)
			SELECT id, kind, lane, workflow_id, created_at, ?, attempts, max_attempts, ?, ?, body FROM {}messages WHERE seq = ?`,
		stDropSeq: `DELETE FROM {}messages WHERE seq = ?`,
		stRevive: `INSERT INTO {}messages (id, kind, lane, workflow_id, due, created_at, attempts, max_attempts, last_error, body)
			SELECT id, kind, lane, workflow_id, ?, created_at, 0, max_attempts, '', body FROM {}dead_letters WHERE id = ?`,
		stDropDead: `DELETE FROM {}dead_letters WHERE id = ?`,

		stLoad: `SELECT 0, w.id, w.version, h.body, w.status FROM {}workflows w LEFT JOIN {}headers h ON h.workflow_id = w.id WHERE w.id = ?1
			UNION ALL SELECT 1, s.id, s.version, s.body, '' FROM {}stages s WHERE s.workflow_id = ?1`,
		stSummary:    `SELECT w.version, h.body, w.status FROM {}workflows w LEFT JOIN {}headers h ON h.workflow_id = w.id WHERE w.id = ?`,
		stUnfinished: `SELECT id FROM {}workflows WHERE id IN (SELECT value FROM json_each(?) j) AND status NOT IN (` + endings() + `)`,
		stRefresh: `SELECT 0, w.id, w.version, h.body, w.status, w.removed_at > ?2 OR w.version < ?2
			FROM {}workflows w LEFT JOIN {}headers h ON h.workflow_id = w.id WHERE w.id = ?1
			UNION ALL SELECT 1, s.id, s.version, s.body, '', 0 FROM {}workflows w CROSS JOIN {}stages s ON s.workflow_id = w.id
			WHERE w.id = ?1 AND (s.version > ?2 OR w.removed_at > ?2 OR w.version < ?2)`,
	}
	for id, m := range manyTexts() {
		for i, n := range sizes() {
			texts[id+statement(i)] = m.head + strings.Repeat(m.row+", ", n-1) + m.row + m.tail
		}
	}
	for i := range texts {
		texts[i] = strings.ReplaceAll(texts[i], "{}", prefix)
	}
	return texts
}

// endings are the statuses of what has ended, as SQL writes them.
func endings() string {
	var names []string
	for _, s := range stabilize.Statuses() {
		if s.IsComplete() {
			names = append(names, "'"+s.String()+"'")
		}
	}
	return strings.Join(names, ", ")
}

// querier is a statement for reading.
type querier interface {
	QueryContext(ctx context.Context, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, args ...any) *sql.Row
	Close() error
}

// many is a statement over rows.
type many struct{ head, row, tail string }

// sizes are the numbers of rows that statements over many rows are prepared for.
func sizes() [3]int { return [3]int{1, 8, 64} }

func manyTexts() map[statement]many {
	return map[statement]many{
		stBump: {"UPDATE {}workflows SET version = version + 1 WHERE id IN (", "?", ")"},
		stPutStage: {
			"INSERT INTO {}stages AS s (workflow_id, id, version, ref, round, position, body) VALUES ", "(?, ?, ?, ?, ?, ?, ?)",
			` ON CONFLICT (workflow_id, id) DO UPDATE SET version = excluded.version, body = excluded.body
			WHERE s.ref = excluded.ref AND s.round = excluded.round AND s.position = excluded.position`,
		},
		stDropMessage: {"DELETE FROM {}messages WHERE id IN (", "?", ")"},
		stAddMessage: {
			`INSERT INTO {}messages (id, kind, lane, workflow_id, due, created_at, worker, lease, attempts, max_attempts, last_error, body)
			VALUES `, "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', ?)", "",
		},
		stAddEvents: {"INSERT INTO {}events (workflow_id, version, first, events, body) VALUES ", "(?, ?, ?, ?, ?)", ""},
	}
}

// prepared holds the statements, each on the pool it is used on, and what other
// reading goes through.
type prepared struct {
	db    bun.IDB // for what bun writes
	sql   queries // for texts
	write [stCount]*sql.Stmt
	read  [stCount]querier
}

// ready returns the statements, preparing them when the schema is there for the
// first time. All at once and before a connection is held: a pool of one
// connection could not give another.
func (s *Store) ready(ctx context.Context) (*prepared, error) {
	if st := s.statements.Load(); st != nil {
		return st, nil
	}
	s.preparing.Lock()
	defer s.preparing.Unlock()
	if st := s.statements.Load(); st != nil {
		return st, nil
	}
	if err := s.checkSchema(ctx, s.r); err != nil {
		return nil, err
	}
	st := &prepared{db: s.r, sql: s.r.DB}
	for id := range statement(stCount) {
		if s.pg != nil { // its driver prepares on each connection what is used there
			if id.reads() {
				st.read[id] = textQuery{s.r.DB, s.texts[id], true}
			}
			continue
		}
		db := s.w.DB
		if id.reads() {
			db = s.r.DB
		}
		if s.texts[id] == "" {
			continue
		}
		ready, err := db.PrepareContext(ctx, s.texts[id])
		if err != nil {
			st.close()
			return nil, fmt.Errorf("prepare %q: %w", s.texts[id], err)
		}
		if id.reads() {
			st.read[id] = ready
		} else {
			st.write[id] = ready
		}
	}
	s.statements.Store(st)
	return st, nil
}

func (p *prepared) close() {
	if p == nil {
		return
	}
	for id := range statement(stCount) {
		if st := p.write[id]; st != nil {
			_ = st.Close()
		}
		if st := p.read[id]; st != nil {
			_ = st.Close()
		}
	}
}
