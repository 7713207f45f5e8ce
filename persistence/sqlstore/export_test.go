package sqlstore

import "slices"

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
	return slices.Delete(texts[:], int(stLock), int(stLock)+1)
}
