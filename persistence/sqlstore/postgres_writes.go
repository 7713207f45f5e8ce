package sqlstore

import (
	"strconv"
	"strings"
)

// A set of commits is written by two statements, one for the workflows that it creates
// and one for all else. Each is a chain of WITH over one snapshot. That is enough: the
// rows of a workflow change under the lock of its row in workflows, which is taken
// first, by an update that finds nothing if the version is not that of the snapshot.
//
// Rows are locked in the order workers, workflows, messages, and within each by key. A
// part that has to wait for another asks how many rows the other has.

// writing is a way to write a set.
type writing struct {
	judged   bool // what the verdict refuses is left out
	dealt    bool // some of what is new may be dealt to a worker
	headers  bool // of workflows that are not new: some change
	stages   bool // of them, in the same statement: else put writes them
	messages bool // some are added
}

// writings returns all.
func writings() (all []writing) {
	for n := range 32 {
		all = append(all, writing{judged: n&1 > 0, dealt: n&2 > 0, headers: n&4 > 0, stages: n&8 > 0, messages: n&16 > 0})
	}
	return all
}

// The parameters, in their order.
const (
	beginParameters = "wait:text commit:int[] workflow:text[] application:text[] config:text[] status:text[] sort:bigint[] created:bigint[] header:bytea[]" +
		" s.commit:int[] s.workflow:text[] s.id:text[] s.ref:text[] s.round:bigint[] s.position:bigint[] s.body:bytea[]"
	moveParameters = "wait:text commit:int[] workflow:text[] expect:bigint[] removes:bool[] headed:bool[] created:bigint[] application:text[] config:text[] status:text[] sort:bigint[]" +
		" h.commit:int[] h.id:text[] h.token:text[]"
	stageParameters   = " s.commit:int[] s.workflow:text[] s.id:text[] s.version:bigint[] s.ref:text[] s.round:bigint[] s.position:bigint[] s.body:bytea[]"
	headerParameters  = " header:bytea[]"
	messageParameters = " m.commit:int[] m.id:text[] m.kind:text[] m.lane:smallint[] m.workflow:text[] m.due:bigint[] m.worker:text[] m.token:text[] m.most:bigint[] m.body:bytea[]" +
		" channel:text now:bigint self:text own:text workers:text[] last:bool"
)

// fill puts the parameters where their names stand in <>, and what depends on the way.
func (w writing) fill(text, parameters string) string {
	left, of := "true", "coalesce(cardinality(<$.commit>), 0)"
	if w.judged {
		left, of = "$.commit <> ALL {lost}", "(SELECT count(*) FROM unnest(<$.commit>) n WHERE n <> ALL {lost})"
	}
	for _, table := range []string{"c", "s", "h", "m"} {
		prefix := table + "."
		if table == "c" {
			prefix = ""
		}
		text = strings.NewReplacer(
			"{left "+table+"}", strings.ReplaceAll(left, "$", table),
			"{all "+table+"}", strings.ReplaceAll(of, "$.", prefix),
		).Replace(text)
	}
	var pairs []string
	for i, p := range strings.Fields(parameters) {
		name, typ, _ := strings.Cut(p, ":")
		pairs = append(pairs, "<"+name+">", "$"+strconv.Itoa(i+1)+"::"+typ)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// limited limits the wait for locks, before the first of them.
const limited = `(SELECT <wait> IS NULL OR set_config('lock_timeout', <wait>, true) IS NOT NULL)`

// begin writes new workflows, with their headers, stages and messages. What belongs to
// them is not looked for.
func (w writing) begin() string {
	text, parameters := `created AS (
			INSERT INTO {}workflows (id, version, removed_at, application, config_id, status, sort_at, created_at)
			SELECT c.workflow, 1, 0, c.application, c.config, c.status, c.sort, nullif(c.created, -9223372036854775808)
			FROM unnest(<commit>, <workflow>, <application>, <config>, <status>, <sort>, <created>) c (commit, workflow, application, config, status, sort, created)
			WHERE {left c} AND `+limited+`{locked} ORDER BY c.workflow COLLATE "C" RETURNING 1),
		headed AS (
			INSERT INTO {}headers (workflow_id, body)
			SELECT c.workflow, c.header FROM unnest(<commit>, <workflow>, <header>) c (commit, workflow, header)
			WHERE {left c} AND (SELECT count(*) FROM created) >= 0),
		staged AS (
			INSERT INTO {}stages (workflow_id, id, version, ref, round, position, body)
			SELECT s.workflow, s.id, 1, s.ref, s.round, s.position, s.body
			FROM unnest(<s.commit>, <s.workflow>, <s.id>, <s.ref>, <s.round>, <s.position>, <s.body>) s (commit, workflow, id, ref, round, position, body)
			WHERE {left s} AND (SELECT count(*) FROM created) >= 0)`, beginParameters
	if !w.messages {
		return w.fill("WITH "+strings.ReplaceAll(text, "{locked}", "")+" SELECT 1", parameters)
	}
	workers, lessee, dealt := lockedWorkers, lessee, ""
	parameters += messageParameters
	if w.dealt {
		workers, lessee, dealt = readyWorker, "m.token <> ''", " AND "+tellDealt
		parameters = strings.Replace(parameters, "workers:text[]", "told:text", 1)
	}
	// The server's own lock on its notifications is waited for by whoever tells.
	tell := told
	if w.dealt {
		tell = strings.Replace(told, "added.free > 0 AND <last>", "<last>", 1)
	}
	return w.fill("WITH "+workers+", "+strings.ReplaceAll(text, "{locked}", afterWorkers)+", "+
		strings.NewReplacer("{after}", "(SELECT count(*) FROM created) >= 0", "{lessee}", lessee).Replace(added)+
		" SELECT 1 / (added.n = {all m}"+dealt+")::int, "+tell, parameters)
}

// The stages of workflows that are not new. One that would move is not found, and its key
// is taken then. Not ON CONFLICT, which writes more to the log, for a conflict that the
// lock on the workflow's row excludes.
const (
	same     = `s.workflow_id = p.workflow AND s.id = p.id AND s.ref = p.ref AND s.round = p.round AND s.position = p.position`
	restaged = `p AS (SELECT s.* FROM unnest(<s.commit>, <s.workflow>, <s.id>, <s.version>, <s.ref>, <s.round>, <s.position>, <s.body>)
				s (commit, workflow, id, version, ref, round, position, body)
			WHERE {left s}{after}),
		restaged AS (UPDATE {}stages s SET version = p.version, body = p.body FROM p WHERE ` + same + `)`
	staged = `INSERT INTO {}stages (workflow_id, id, version, ref, round, position, body)
			SELECT p.workflow, p.id, p.version, p.ref, p.round, p.position, p.body FROM p
			WHERE NOT EXISTS (SELECT FROM {}stages s WHERE ` + same + `)`
)

// put writes them after move.
func (w writing) put() string {
	return w.fill("WITH "+strings.ReplaceAll(restaged, "{after}", "")+" "+staged, stageParameters)
}

// move writes all else.
func (w writing) move() string {
	text, parameters := `changed AS (
			UPDATE {}workflows w SET version = w.version + 1,
				removed_at = CASE WHEN c.removes THEN w.version + 1 ELSE w.removed_at END,
				application = CASE WHEN c.headed THEN c.application ELSE w.application END,
				config_id = CASE WHEN c.headed THEN c.config ELSE w.config_id END,
				status = CASE WHEN c.headed THEN c.status ELSE w.status END,
				sort_at = CASE WHEN c.headed THEN c.sort ELSE w.sort_at END
			FROM (SELECT * FROM unnest(<commit>, <workflow>, <expect>, <removes>, <headed>, <created>, <application>, <config>, <status>, <sort>)
				c (commit, workflow, expect, removes, headed, created, application, config, status, sort)
				WHERE {left c} AND `+limited+`{locked} ORDER BY workflow COLLATE "C") c
			WHERE w.id = c.workflow AND w.version = c.expect
				AND (NOT c.headed OR w.created_at IS NOT DISTINCT FROM nullif(c.created, -9223372036854775808))
			RETURNING 1),{stages}{headers}
		handled AS (
			DELETE FROM {}messages m USING (
				SELECT * FROM unnest(<h.commit>, <h.id>, <h.token>) h (commit, id, token)
				WHERE {left h} AND (SELECT count(*) FROM changed) >= 0 ORDER BY id COLLATE "C") h
			WHERE m.id = h.id AND m.lease = h.token
			RETURNING 1)`, moveParameters
	stages, headers := "", ""
	if w.stages {
		parameters += stageParameters
		stages = "\n" + strings.ReplaceAll(restaged, "{after}", " AND (SELECT count(*) FROM changed) >= 0") + ",\nstaged AS (" + staged + "),"
	}
	if w.headers {
		parameters += headerParameters
		headers = `
		h AS (SELECT c.workflow, c.header AS body FROM unnest(<commit>, <workflow>, <headed>, <header>) c (commit, workflow, headed, header)
			WHERE c.headed AND {left c} AND (SELECT count(*) FROM changed) >= 0),
		reheaded AS (UPDATE {}headers s SET body = h.body FROM h WHERE s.workflow_id = h.workflow),
		headed AS (
			INSERT INTO {}headers (workflow_id, body) SELECT h.workflow, h.body FROM h
			WHERE NOT EXISTS (SELECT FROM {}headers s WHERE s.workflow_id = h.workflow)),`
	}
	const complete = "(SELECT count(*) FROM changed) = {all c} AND (SELECT count(*) FROM handled) = {all h}"
	text = strings.NewReplacer("{stages}", stages, "{headers}", headers).Replace(text)
	if !w.messages {
		return w.fill("WITH "+strings.ReplaceAll(text, "{locked}", "")+" SELECT 1 / ("+complete+")::int", parameters)
	}
	return w.fill("WITH "+lockedWorkers+", "+strings.ReplaceAll(text, "{locked}", afterWorkers)+", "+
		strings.NewReplacer("{after}", "(SELECT count(*) FROM handled) >= 0", "{lessee}", lessee).Replace(added)+
		" SELECT 1 / ("+complete+" AND added.n = {all m})::int, "+told, parameters+messageParameters)
}

// The messages, some of which are born leased. Of what is free one worker that is ready and
// listens is told, or one for every 64: it takes all that there is room for, and tells all
// others if that was not enough (decision 0027). If there is none, everybody is told.
const (
	lockedWorkers = `k AS MATERIALIZED (SELECT fence, id FROM {}workers WHERE id = ANY(<workers>) AND expires > <now> FOR KEY SHARE)`
	lessee        = "k.id = m.worker"
	afterWorkers  = ` AND (SELECT count(*) FROM k) >= 0`
	added         = `stored AS (
			INSERT INTO {}messages (id, kind, lane, workflow_id, due, created_at, worker, lease, attempts, max_attempts, last_error, body)
			SELECT m.id, m.kind, m.lane, m.workflow, m.due, <now>,
				k.fence, CASE WHEN k.fence IS NOT NULL THEN m.token END, CASE WHEN k.fence IS NULL THEN 0 ELSE 1 END, m.most, '', m.body
			FROM unnest(<m.commit>, <m.id>, <m.kind>, <m.lane>, <m.workflow>, <m.due>, <m.worker>, <m.token>, <m.most>, <m.body>)
				WITH ORDINALITY m (commit, id, kind, lane, workflow, due, worker, token, most, body, item)
			LEFT JOIN k ON {lessee}
			WHERE {left m} AND {after} AND NOT EXISTS (SELECT FROM {}dead_letters d WHERE d.id = m.id) ORDER BY m.item
			RETURNING worker IS NULL AND due <= <now> AS free),
		added AS MATERIALIZED (SELECT count(*) AS n, count(*) FILTER (WHERE free) AS free FROM stored),
		told AS MATERIALIZED (
			SELECT ear FROM (
				SELECT ear FROM {}workers WHERE ear <> <own> AND expires > <now> ORDER BY random() LIMIT (SELECT free / 64 + 3 FROM added)) lot
			WHERE ` + listens + ` LIMIT (SELECT (free + 63) / 64 FROM added))`
	told = `added.free > 0, CASE WHEN added.free > 0 THEN (
			SELECT count(pg_notify(<channel> || place, <self>)::text) FROM (
				SELECT '_' || ear FROM told UNION ALL SELECT '' WHERE NOT EXISTS (SELECT FROM told)) n (place)) END,
		CASE WHEN added.free > 0 AND <last> THEN set_config('lock_timeout', '0', true) END FROM added`
)

// One of the workers that are ready and listen, if there is one: nobody can share the lock of its
// ear. It is chosen by lot; more than three are not tried.
const (
	readyWorker = `lot AS MATERIALIZED (SELECT fence FROM {}workers WHERE ear IS NOT NULL AND expires > <now> ORDER BY random() LIMIT 3),
		k AS MATERIALIZED (SELECT fence, id, ear FROM {}workers
			WHERE fence IN (SELECT fence FROM lot) AND ear IS NOT NULL AND expires > <now>
				AND ` + listens + `
			ORDER BY random() LIMIT 1 FOR KEY SHARE SKIP LOCKED)`
	listens   = `NOT pg_try_advisory_xact_lock_shared(hashtextextended(ear, 0))`
	tellDealt = `(SELECT count(pg_notify(<channel> || '_' || ear, id || E'\n' || <told>)::text) FROM k) >= 0`
)
