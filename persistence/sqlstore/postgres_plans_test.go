package sqlstore_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
)

// No statement reads a table from end to end, but that of the workers, which is as
// small as there are processes.
func TestPostgresPlans(t *testing.T) {
	schema := server.Schema(t)
	s := openPostgres(t, schema)
	db := rawPostgres(t, schema)
	db.SetMaxOpenConns(1)
	for _, setting := range []string{"enable_seqscan = off", "enable_hashjoin = off", "enable_mergejoin = off", "plan_cache_mode = force_generic_plan"} {
		run(t, db, "SET "+setting)
	}
	run(t, db, "SELECT set_config('stabilize.lost', '{}', false)")
	parameter := regexp.MustCompile(`\$(\d+)`)
	for _, text := range append(sqlstore.PostgresStatements(s), sqlstore.EventStatements(s)...) {
		most := 0
		for _, m := range parameter.FindAllStringSubmatch(text, -1) {
			n := 0
			for _, digit := range m[1] {
				n = 10*n + int(digit-'0')
			}
			most = max(most, n)
		}
		run(t, db, "PREPARE statement AS "+text)
		execute := "EXPLAIN EXECUTE statement"
		if most > 0 {
			execute += "(NULL" + strings.Repeat(", NULL", most-1) + ")"
		}
		err := each(t.Context(), db, func(scan func(...any) error) error {
			var step string
			err := scan(&step)
			// The feed is in the order of its index; of a workflow the rows are few.
			if of := strings.Contains(text, "workflow_id = $1"); strings.Contains(text, "txid_snapshot_xmin") && (!of && strings.Contains(step, "Sort") || of && strings.Contains(step, "events_feed")) {
				t.Errorf("%s\n%.300s", step, text)
			}
			if strings.Contains(step, "Seq Scan") && !strings.Contains(step, "workers") {
				t.Errorf("%s\n%.300s", step, text)
			}
			// A table kept in a hash is read whole first; what NOT IN asks for here is little.
			if strings.Contains(step, "hashed SubPlan") && !strings.Contains(text, "NOT IN (SELECT ") {
				t.Errorf("%s\n%.300s", step, text)
			}
			return err
		}, execute)
		if err != nil {
			t.Errorf("%v\n%s", err, text)
		}
		run(t, db, "DEALLOCATE statement")
	}
}
