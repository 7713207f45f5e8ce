package sqlstore_test

import (
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
)

// No statement of the hot path reads a table from end to end, but that of the
// workers, which is as small as there are processes; and none sorts.
func TestPlans(t *testing.T) {
	path := tempFile(t)
	s := open(t, path)
	db := raw(t, path)
	for _, text := range append(sqlstore.Statements(), sqlstore.EventStatements(s)...) {
		args := make([]any, strings.Count(text, "?"))
		for i := range args {
			args[i] = 1
		}
		for n := range args { // numbered parameters are fewer than their uses
			if !strings.Contains(text, "?"+string(rune('1'+n))) && strings.Contains(text, "?1") {
				args = args[:n]
				break
			}
		}
		err := each(t.Context(), db, func(scan func(...any) error) error {
			var id, parent, unused int
			var step string
			err := scan(&id, &parent, &unused, &step)
			words := strings.Fields(step)
			scans := words[0] == "SCAN" && !strings.Contains(step, " INDEX ") && words[1] != "j" && words[1] != "workers" && words[1] != "CONSTANT" && !strings.HasSuffix(step, " VALUES CLAUSE")
			if scans || strings.HasPrefix(step, "USE TEMP B-TREE") {
				t.Errorf("%s\n%.200s", step, text)
			}
			return err
		}, "EXPLAIN QUERY PLAN "+text, args...)
		if err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
}
