package sqlstore

import (
	"database/sql"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Admissions within a set of commits: the keys are locked first, in one order, and each
// is judged and granted by one statement, which sees what the commits before it did.

// judgeText is batch.judge and batch.admit as one statement. A status that is not
// known holds its place. What it drops and what it puts are never the same row. A
// commit that it refuses is added to those that are lost. The list of those who wait
// is read in its order and no further than needed: that a seq is above 0 says nothing
// but to the planner.
func judgeText() string {
	var ended, keeps []string
	for _, s := range stabilize.Statuses() {
		if !persistence.HoldsPlace(s) {
			ended = append(ended, "'"+s.String()+"'")
		}
		if persistence.KeepsTurn(s) {
			keeps = append(keeps, "'"+s.String()+"'")
		}
	}
	return strings.NewReplacer(
		"{holds}", "(w.status NOT IN ("+strings.Join(ended, ", ")+"))", "{keeps}", "(w.status IN ("+strings.Join(keeps, ", ")+"))",
		"{commit}", "$1::int", "{key}", "$2::text", "{workflow}", "$3::text", "{op}", "$4::int", "{limit}", "$5::bigint",
		"{take}", strconv.Itoa(int(persistence.TakePlace)), "{wait}", strconv.Itoa(int(persistence.WaitForPlace)), "{leave}", strconv.Itoa(int(persistence.LeavePlace)),
		"{last}", "9223372036854775807",
	).Replace(`WITH own AS (
		SELECT p.seq, p.waiting, CASE WHEN p.waiting THEN {keeps} ELSE {holds} END AS counts
		FROM {}places p JOIN {}workflows w ON w.id = p.workflow_id WHERE p.key = {key} AND p.workflow_id = {workflow}),
	taken AS MATERIALIZED (
		SELECT p.seq, p.workflow_id, w.id IS NOT NULL AND {holds} AS counts FROM {}places p LEFT JOIN {}workflows w ON w.id = p.workflow_id
		WHERE p.key = {key} AND p.waiting = false AND {op} <> {leave}),
	held AS MATERIALIZED (SELECT count(*) AS n FROM taken WHERE counts),
	seat AS MATERIALIZED (
		SELECT held.n AS held, EXISTS (SELECT FROM own WHERE waiting AND counts) AS turn, h.holding,
			h.holding OR {limit} <= 0 OR {limit} - held.n > (SELECT count(*) FROM (
				SELECT FROM {}places p JOIN {}workflows w ON w.id = p.workflow_id
				WHERE p.key = {key} AND p.waiting = true AND {keeps}
					AND p.seq < coalesce((SELECT seq FROM own WHERE waiting AND counts), {last})
				ORDER BY p.seq LIMIT greatest({limit} - (SELECT n FROM held), 0)) ahead) AS may
		FROM held, (SELECT EXISTS (SELECT FROM own WHERE NOT waiting AND counts) AS holding) h),
	verdict AS MATERIALIZED (SELECT *, {op} <> {leave} AND may <> ({op} = {take}) AS refused FROM seat),
	granted AS MATERIALIZED (SELECT * FROM verdict WHERE NOT refused AND {commit} <> ALL {lost}),
	gone AS MATERIALIZED (
		SELECT p.seq FROM granted, {}places p WHERE {op} = {leave} AND p.key = {key} AND p.workflow_id = {workflow}
		UNION ALL SELECT t.seq FROM granted, taken t WHERE NOT t.counts AND t.workflow_id <> {workflow}
		UNION ALL SELECT p.seq FROM granted, {}places p
			WHERE {op} <> {leave} AND p.key = {key} AND p.waiting = true AND p.workflow_id <> {workflow} AND p.seq < coalesce((
				SELECT p.seq FROM {}places p JOIN {}workflows w ON w.id = p.workflow_id
				WHERE p.key = {key} AND p.waiting = true AND p.seq > 0 AND {keeps} ORDER BY p.seq LIMIT 1), {last})),
	dropped AS (DELETE FROM {}places d USING gone WHERE d.seq = gone.seq),
	put AS (
		INSERT INTO {}places AS own (key, workflow_id, waiting, lim)
		SELECT {key}, {workflow}, {op} = {wait}, {limit} FROM granted WHERE {op} <> {leave} AND NOT ({op} = {take} AND holding)
		ON CONFLICT (key, workflow_id) DO UPDATE SET waiting = excluded.waiting, lim = excluded.lim,
			seq = CASE WHEN excluded.waiting AND (SELECT turn FROM seat) THEN own.seq ELSE excluded.seq END)
	SELECT set_config('stabilize.lost', (CASE WHEN refused THEN {lost} || {commit} ELSE {lost} END)::text, true), refused, held
	FROM verdict`)
}

// judged takes what became of an admission. Of several reasons to refuse a commit it
// is the one after those of messages.
func (set *commitSet) judged(row pgx.Row, n int32) error {
	var lost string
	var refused bool
	var held int
	if err := row.Scan(&lost, &refused, &held); err != nil || !refused {
		return err
	}
	ch := &set.work[n]
	if step := set.steps[n]; step == 0 || step > 3 {
		a := ch.Admission
		ch.err = &stabilize.AdmissionError{Key: a.Key, WorkflowID: ch.WorkflowID, Limit: a.Limit, Holding: held, Free: a.Op == persistence.WaitForPlace}
	}
	return nil
}

// keyLocks are the numbers of the locks of keys, in the order in which everybody takes
// them.
func keyLocks(pg *postgres, keys []string) []int64 {
	locks := make([]int64, len(keys))
	for i, key := range keys {
		locks[i] = lockNumber("key", pg.channel, key)
	}
	slices.Sort(locks)
	return slices.Compact(locks)
}

// placesPostgres is places in pages: a result is read to its end, however little
// of it is wanted.
func (b *batch) placesPostgres(key string, waiting bool, fn func(seq int64, counts bool) bool) error {
	after := int64(0)
	for {
		page, err := b.placesAfter(key, waiting, after)
		if err != nil {
			return err
		}
		for _, p := range page {
			ok, err := counts(p.workflow, p.status, waiting)
			if err != nil {
				return err
			}
			if !fn(p.seq, ok) {
				return nil
			}
			after = p.seq
		}
		if len(page) < placesPage {
			return nil
		}
	}
}

// placesPage is how many rows stPlaces returns at most.
const placesPage = 200

type place struct {
	seq      int64
	workflow string
	status   sql.NullString
}

func (b *batch) placesAfter(key string, waiting bool, after int64) (page []place, err error) {
	rows, err := b.tx.query(stPlaces, key, waiting, after)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var p place
		if err := rows.Scan(&p.seq, &p.workflow, &p.status); err != nil {
			return nil, err
		}
		page = append(page, p)
	}
	return page, rows.Err()
}
