package sqlstore

import "github.com/stabilize-dev/go-stabilize/persistence"

// ExplainQuery returns the statement that Query runs.
func (s *Store) ExplainQuery(q persistence.Query) (string, []any, error) {
	if err := checkQuery(&q); err != nil {
		return "", nil, err
	}
	after, err := parseToken(&q)
	if err != nil {
		return "", nil, err
	}
	text, args := s.queryText(&q, after)
	return text, args, nil
}
