package storetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// pages is the group PG: queries.
func pages() []check {
	return []check{
		clause("PG-01", "A query by application or configuration finds exactly the matching workflows, compared byte by byte.", pg01),
		clause("PG-02", "Workflows that have not started come first, then by start time, newest first, ties by id, descending, by bytes.", pg02),
		clause("PG-03", "Pages of size 1, 2, 3 and 1000 concatenate to the whole list: no duplicate, no miss; the last page, a full one too, has no token for another: look for one more than the page holds.", pg03),
		clause("PG-04", "Inserting before the cursor, or deleting the cursor's row, between pages neither repeats nor skips a workflow that stays.", pg04),
		clause("PG-05", "A corrupt, foreign or truncated page token returns ErrInvalid; it never restarts from the beginning.", pg05),
		clause("PG-06", "Page tokens survive ids and filters that hold a token's own separators.", pg06),
		clause("PG-07", "A page size of 0 means 100, a negative one is ErrInvalid.", pg07),
		clause("PG-08", "The status filter is exact for each of the twelve statuses; an empty filter means all.", pg08),
		clause("PG-09", "Start-time bounds are inclusive below and exclusive above, leave out what has not started, and go together with every other filter.", pg09),
		clauseFor(conformance.CanCountQueries, "PG-15", "Listing 1,000 workflows takes a bounded number of round trips.", pg15),
		clauseFor(conformance.CanExplain, "PG-16", "Each listing uses an index.", pg16),
		clauseFor(conformance.CanWatch, "PG-17", "Of workflows asked for by id those are found that exist and have not ended, each once, a thousand too.", pg17),
	}
}

func ids(page persistence.Page) []string {
	out := []string{}
	for _, h := range page.Workflows {
		out = append(out, h.ID)
	}
	return out
}

func (e *env) page(q persistence.Query) persistence.Page {
	e.Helper()
	p, err := e.b.Query(e.Ctx(), q)
	e.Must(err, "querying %+v", q)
	return p
}

func pg01(e *env) {
	values := []string{"", "a", "A", "a ", "ab", "%", "_", "a%", "é", "e\u0301", "a\x1fb"}
	n := 0
	var cs []*persistence.Commit
	want := map[string][]string{}
	for _, app := range values {
		for _, config := range values {
			w := kit.Workflow(fmt.Sprintf("w%03d", n), e.Now())
			w.Application, w.ConfigID = app, config
			cs = append(cs, kit.Creation(w))
			for _, key := range []string{"app" + app, "config" + config, "both" + app + "\x00" + config} {
				want[key] = append(want[key], w.ID)
			}
			n++
		}
	}
	e.commitAll(e.a, cs)
	for _, list := range want {
		slices.Reverse(list)
	}
	for _, v := range values[1:] {
		e.List(want["app"+v], e.query(persistence.Query{Application: v}), "workflows of the application %q", v)
		e.List(want["config"+v], e.query(persistence.Query{ConfigID: v}), "workflows of the configuration %q", v)
		e.List(want["both"+v+"\x00a"], e.query(persistence.Query{Application: v, ConfigID: "a"}), "workflows of the application %q and the configuration a", v)
	}
	if got := len(e.query(persistence.Query{Limit: 7})); got != n {
		e.Errorf("without a filter %d workflows are found, want %d", got, n)
	}
	e.List([]string{}, e.query(persistence.Query{Application: "nobody's"}), "workflows of an unknown application")
}

// listing stores workflows with all that makes order hard, and returns their
// ids in the order of the contract.
func (e *env) listing() []string {
	e.Helper()
	at := time.Date(2024, 6, 1, 12, 0, 0, 0, time.UTC)
	times := map[string]time.Time{
		"u1": {}, "u10": {}, "u2": {}, "u_": {}, "U1": {}, "ü": {},
		"x1": at, "x10": at, "x2": at, "X1": at,
		"old": at.Add(-time.Hour), "new": at.Add(time.Hour), "older": at.Add(-2 * time.Hour),
		"before 1970": time.Date(1960, 1, 1, 0, 0, 0, 0, time.UTC), "far": time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	e.started(times)
	return []string{"ü", "u_", "u2", "u10", "u1", "U1", "far", "new", "x2", "x10", "x1", "X1", "old", "older", "before 1970"}
}

func pg02(e *env) { e.List(e.listing(), e.query(persistence.Query{}), "all workflows") }

func pg03(e *env) {
	want := e.listing()
	for _, size := range []int{1, 2, 3, 5, len(want), 1000} {
		e.List(want, e.query(persistence.Query{Limit: size}), "the pages of size %d together", size)
		if got := ids(e.page(persistence.Query{Limit: size})); !slices.Equal(got, want[:min(size, len(want))]) {
			e.Errorf("the first page of size %d is %v", size, got)
		}
	}
	for _, size := range []int{1000, len(want)} {
		if p := e.page(persistence.Query{Limit: size}); p.Next != "" {
			e.Errorf("the last page, of %d workflows where %d are asked for, has a token for another", len(p.Workflows), size)
		}
	}
}

func pg04(e *env) {
	at := time.Date(2024, 6, 1, 12, 0, 0, 0, time.UTC)
	times := map[string]time.Time{}
	for i := range 9 {
		times[fmt.Sprintf("w%d", i)] = at.Add(-time.Duration(i) * time.Minute)
	}
	e.started(times)
	first := e.page(persistence.Query{Limit: 3})
	e.List([]string{"w0", "w1", "w2"}, ids(first), "the first page")
	e.started(map[string]time.Time{"newest": at.Add(time.Hour), "unstarted": {}, "between": at.Add(-30 * time.Second)})
	e.Must(e.a.Delete(e.Ctx(), "w2", "w4"), "deleting the last of the page and one of the next")
	second := e.page(persistence.Query{Limit: 3, Token: first.Next})
	e.List([]string{"w3", "w5", "w6"}, ids(second), "the second page")
	third := e.page(persistence.Query{Limit: 3, Token: second.Next})
	e.List([]string{"w7", "w8"}, ids(third), "the third page")
}

func pg05(e *env) {
	e.listing()
	q := persistence.Query{Limit: 2, Application: "app"}
	token := e.page(q).Next
	if token == "" {
		e.Fatalf("the first of several pages has no token")
	}
	bad := []string{"x", "0", "1", " ", token + "x", token + token, "x" + token, token[:len(token)-1], token[1:], token[:len(token)/2], strings.ToUpper(token) + "=", "AAAA", "{}", "null"}
	for i := range token { // one letter changed
		c := byte('A')
		if token[i] == c {
			c = 'B'
		}
		bad = append(bad, token[:i]+string(c)+token[i+1:])
	}
	for _, t := range bad {
		q.Token = t
		if t != token {
			page, err := e.b.Query(e.Ctx(), q)
			e.Want(stabilize.ErrInvalid, err, "asking for the page %q, which gave %v", t, ids(page))
		}
	}
	for name, foreign := range map[string]persistence.Query{
		"another application": {Application: "other"}, "no application": {}, "a configuration too": {Application: "app", ConfigID: "config"},
		"a status too": {Application: "app", Statuses: []stabilize.Status{stabilize.Running}}, "a bound too": {Application: "app", StartedFrom: e.Now()},
	} {
		foreign.Token, foreign.Limit = token, 2
		_, err := e.b.Query(e.Ctx(), foreign)
		e.Want(stabilize.ErrInvalid, err, "a token used with %s", name)
	}
	q.Token, q.Limit = token, 3
	e.List([]string{"u2", "u10", "u1"}, ids(e.page(q)), "the page of the true token, of another size")
}

func pg06(e *env) {
	names := []string{"|", "a|b", ",", ":", ";", "/", "a=b&c", "\x1f", "\x1e", `"`, `\`, "{}", "[1,2]", "%00", "a b", "+", "~", "'", "\t", "é|"}
	var cs []*persistence.Commit
	for _, n := range names {
		w := kit.Workflow(n, e.Now())
		w.Application, w.ConfigID = "|,:;\x1f\"\\", "{}|"
		cs = append(cs, kit.Creation(w))
	}
	e.commitAll(e.a, cs)
	slices.Sort(names)
	slices.Reverse(names)
	e.List(names, e.query(persistence.Query{Limit: 1, Application: "|,:;\x1f\"\\", ConfigID: "{}|"}), "the pages of size 1 together")
}

func pg07(e *env) {
	e.createAll(kit.Numbered("w%03d", 120), nil)
	if got := len(e.page(persistence.Query{}).Workflows); got != 100 {
		e.Errorf("a page of size 0 has %d workflows, want 100", got)
	}
	_, err := e.b.Query(e.Ctx(), persistence.Query{Limit: -1})
	e.Want(stabilize.ErrInvalid, err, "a page of size -1")
	if got := len(e.query(persistence.Query{})); got != 120 {
		e.Errorf("the pages of size 0 hold %d workflows together, want 120", got)
	}
}

func pg08(e *env) {
	var all []string
	for _, s := range stabilize.Statuses() {
		e.createAll([]string{s.String()}, func(w *stabilize.Workflow) { w.Status = s })
		all = append(all, s.String())
	}
	slices.Sort(all)
	slices.Reverse(all)
	for _, s := range stabilize.Statuses() {
		e.List([]string{s.String()}, e.query(persistence.Query{Statuses: []stabilize.Status{s}}), "workflows that are %s", s)
	}
	e.List([]string{"TERMINAL", "NOT_STARTED"}, e.query(persistence.Query{Statuses: []stabilize.Status{stabilize.NotStarted, stabilize.Terminal, stabilize.NotStarted}, Limit: 1}), "workflows that are NOT_STARTED or TERMINAL")
	e.List(all, e.query(persistence.Query{}), "workflows of any status")
	e.List(all, e.query(persistence.Query{Statuses: []stabilize.Status{}}), "workflows with an empty filter")
	e.becomes("RUNNING", stabilize.Paused)
	e.List([]string{}, e.query(persistence.Query{Statuses: []stabilize.Status{stabilize.Running}}), "workflows that are RUNNING after the one was paused")
}

func pg09(e *env) {
	at := time.Date(2024, 6, 1, 12, 0, 0, 0, time.UTC)
	e.started(map[string]time.Time{"a": at.Add(-kit.Tick), "b": at, "c": at.Add(kit.Tick), "d": at.Add(time.Hour), "never": {}})
	other := kit.Workflow("other", e.Now())
	other.Application, other.StartedAt, other.Status = "other", at, stabilize.Terminal
	e.commit(e.a, kit.Creation(other))
	for _, c := range []struct {
		want []string
		q    persistence.Query
	}{
		{[]string{"d", "c", "other", "b"}, persistence.Query{StartedFrom: at}},
		{[]string{"a"}, persistence.Query{StartedBefore: at}},
		{[]string{"other", "b"}, persistence.Query{StartedFrom: at, StartedBefore: at.Add(kit.Tick)}},
		{[]string{"b"}, persistence.Query{StartedFrom: at, StartedBefore: at.Add(kit.Tick), Application: "app"}},
		{[]string{"b"}, persistence.Query{StartedFrom: at, StartedBefore: at.Add(kit.Tick), ConfigID: "config", Application: "app"}},
		{[]string{"other"}, persistence.Query{StartedFrom: at, Statuses: []stabilize.Status{stabilize.Terminal}}},
		{[]string{}, persistence.Query{StartedFrom: at.Add(2 * time.Hour)}},
		{[]string{"d", "c", "other", "b", "a"}, persistence.Query{StartedBefore: at.Add(2 * time.Hour), Limit: 2}},
		{[]string{"never", "d", "c", "other", "b", "a"}, persistence.Query{}},
	} {
		e.List(c.want, e.query(c.q), "workflows that started from %s and before %s, of the application %q", c.q.StartedFrom, c.q.StartedBefore, c.q.Application)
	}
}

func pg15(e *env) {
	e.createAll(kit.Numbered("w%04d", e.Effort.Size(1000, 50)), nil, "s1", "s2")
	counter := power[conformance.QueryCounter](e)
	before := counter.Queries()
	if _, err := e.a.Query(e.Ctx(), persistence.Query{Limit: 1000}); err != nil {
		e.Fatalf("querying: %v", err)
	}
	if n := counter.Queries() - before; n > 5 {
		e.Errorf("listing took %d round trips", n)
	}
}

func pg16(e *env) {
	e.createAll(kit.Numbered("w%04d", 200), nil)
	at, ends := e.Now(), []stabilize.Status{stabilize.Succeeded, stabilize.Terminal, stabilize.Canceled}
	for _, q := range []persistence.Query{
		{}, {Application: "app"}, {ConfigID: "config"}, {Application: "app", ConfigID: "config"},
		{Statuses: []stabilize.Status{stabilize.Running}}, {StartedFrom: at}, {Application: "app", StartedBefore: at},
		{Statuses: ends, StartedBefore: at}, {Statuses: ends}, // as pruning asks
	} {
		scans, err := power[conformance.Explainer](e).FullScans(e.Ctx(), q)
		e.Must(err, "explaining %+v", q)
		if len(scans) > 0 {
			e.Errorf("the query %+v reads whole tables: %v", q, scans)
		}
	}
}

func pg17(e *env) {
	unfinished := func(s persistence.Store, asked ...string) []string {
		e.Helper()
		got, err := s.(persistence.Watcher).Unfinished(e.Ctx(), asked...)
		e.Must(err, "asking for %d workflows", len(asked))
		slices.Sort(got)
		return got
	}
	all, live := []string{"nobody"}, []string{}
	for _, s := range stabilize.Statuses() {
		e.createAll([]string{s.String(), "other " + s.String()}, func(w *stabilize.Workflow) { w.Status = s })
		all = append(all, s.String())
		if !s.IsComplete() {
			live = append(live, s.String())
		}
	}
	slices.Sort(live)
	e.List(live, unfinished(e.b, slices.Concat(all, all)...), "who has not ended of one of each status and one that is not there, each asked for twice")
	e.List([]string{}, unfinished(e.b, "nobody", "SUCCEEDED"), "who has not ended of one that has and one that is not there")
	e.List([]string{}, unfinished(e.b), "who has not ended of none")

	e.becomes("RUNNING", stabilize.Succeeded)
	e.Must(e.a.Delete(e.Ctx(), "PAUSED"), "deleting")
	e.List([]string{"BUFFERED"}, unfinished(e.b, "RUNNING", "PAUSED", "BUFFERED"), "who has not ended when one has and one was deleted")

	odd := []string{"\x7f#", "#", "a\"b'c\\d", "%_*", "雪 \U0001F600", strings.Repeat("y", stabilize.MaxIDLength)}
	slices.Sort(odd)
	e.createAll(odd, nil)
	e.List(odd, unfinished(e.b, odd...), "who has not ended of some with odd ids")

	many := kit.Numbered("w%04d", e.Effort.Size(1000, 50))
	e.createAll(many, nil)
	e.List(many, unfinished(e.a, many...), "who has not ended of many")

	for _, bad := range []string{"", "two\nlines", strings.Repeat("x", stabilize.MaxIDLength+1)} {
		_, err := e.b.(persistence.Watcher).Unfinished(e.Ctx(), "BUFFERED", bad)
		e.Want(stabilize.ErrInvalid, err, "asking for the id %.20q", bad)
	}
}
