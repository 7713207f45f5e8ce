package sqlstore

import (
	"context"
	"encoding/base64"
	"slices"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/stabilize-dev/go-stabilize/persistence"
)

// InUse counts the connections that are checked out: a transaction or a cursor
// left open is one too.
func InUse(s *Store) int {
	n := s.w.Stats().InUse
	if s.r != s.w {
		n += s.r.Stats().InUse
	}
	return n
}

// Statements returns the statements of the hot path, but the one that only
// takes the write lock.
func Statements() []string {
	texts := statementTexts("")
	return slices.DeleteFunc(slices.Delete(texts[:], int(stLock), int(stLock)+1), func(text string) bool { return text == "" })
}

// EventStatements are those that read the log.
func EventStatements(s *Store) (texts []string) {
	for _, workflow := range []string{"", "w"} {
		for _, descending := range []bool{false, true} {
			text, _ := s.eventsText(persistence.EventRange{WorkflowID: workflow, Descending: descending, Limit: 1})
			texts = append(texts, s.cfg.text(text))
		}
	}
	return texts
}

// PreparedStatements counts those that the server keeps for a connection.
func PreparedStatements(ctx context.Context, s *Store) (n int, err error) {
	err = s.w.DB.QueryRowContext(ctx, "SELECT count(*) FROM pg_prepared_statements").Scan(&n)
	return n, err
}

// MeasureAgain makes a store that follows the database's clock ask it at its next call.
func MeasureAgain(s *Store) {
	if c, ok := s.cfg.Clock.(*persistence.DatabaseClock); ok {
		c.Expire()
	}
}

// Channel is where a store in PostgreSQL notifies others, and what its locks go by.
func Channel(s *Store) string { return s.pg.channel }

// Trust makes the next batch go without the verdict, or the next ones not.
func Trust(s *Store, yes bool) {
	s.pg.trust.doubts.Store(judgedAfterRefusal)
	if yes {
		s.pg.trust.doubts.Store(0)
	}
}

// JudgedAfterRefusal is how long a store judges first.
const JudgedAfterRefusal = judgedAfterRefusal

// PostgresStatements returns the statements of the hot path.
func PostgresStatements(s *Store) []string {
	t := &s.pg.set
	texts := append(s.texts[:], t.keys, t.workers, t.workflows, t.judge, t.verdict, t.remove, t.drop, t.events, t.buried, t.held, t.take)
	for _, w := range writings() {
		texts = append(texts, t.begin[w], t.move[w], t.put[w])
	}
	return slices.DeleteFunc(texts, func(text string) bool { return text == "" })
}

// Told is what a notification tells of messages with these fields.
func Told(messages ...map[string]any) (string, error) {
	var data []byte
	for _, m := range messages {
		one, err := msgpack.Marshal(m)
		if err != nil {
			return "", err
		}
		data = append(data, one...)
	}
	return base64.RawStdEncoding.EncodeToString(data), nil
}
