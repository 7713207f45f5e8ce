package storetest

import (
	"fmt"
	"reflect"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// times is the group TM of the store.
func times() []check {
	return []check{
		clause("TM-02", "Instants come back in UTC, cut to a microsecond, whatever the zone and precision they were given in, in every field that holds one.", tm02),
		clause("TM-03", "The zero time stays absent: not 1970, not year 1, in every field that holds one.", tm03),
		clause("TM-04", "Instants before 1970 and in the year 9999 come back.", tm04),
		clause("TM-05", "Times are compared by instant, never by text: mixed zones, with and without fractions of a second, filter and sort right.", tm05),
		clause("TM-06", "Workflows that started closer together than the precision keep the order of the contract, by id.", tm06),
	}
}

// eachTime sets every time reachable from what x points to.
func eachTime(x any, set func(path string, t *time.Time)) { walkTimes("", reflect.ValueOf(x), set) }

func walkTimes(path string, v reflect.Value, set func(string, *time.Time)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			walkTimes(path, v.Elem(), set)
		}
	case reflect.Slice:
		for i := range v.Len() {
			walkTimes(fmt.Sprintf("%s[%d]", path, i), v.Index(i), set)
		}
	case reflect.Struct:
		if t, ok := reflect.TypeAssert[*time.Time](v.Addr()); ok {
			set(path, t)
			return
		}
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				walkTimes(path+"."+f.Name, v.Field(i), set)
			}
		}
	}
}

func (e *env) timesCome(name string, make func(i int) time.Time) {
	w, i := e.filled(name, 1), 0
	eachTime(w, func(_ string, t *time.Time) { *t = make(i); i++ })
	if i < 15 {
		e.Fatalf("the suite found %d times in a workflow", i)
	}
	want := stored(w, 1)
	eachTime(want, func(_ string, t *time.Time) { *t = stabilize.Instant(*t) })
	e.commit(e.a, kit.Creation(w))
	e.Same(want, e.load(e.b, w.ID), "%s: the workflow", name)
	e.Same(&want.Header, e.summary(e.b, w.ID), "%s: the header", name)
	i = 3
	created := w.CreatedAt
	eachTime(w, func(_ string, t *time.Time) { *t = make(i); i++ })
	w.CreatedAt = created
	e.commit(e.a, &persistence.Commit{WorkflowID: w.ID, Expect: 1, Header: &w.Header, Stages: w.Stages})
	want = stored(w, 2)
	eachTime(want, func(_ string, t *time.Time) { *t = stabilize.Instant(*t) })
	e.Same(want, e.load(e.b, w.ID), "%s: the workflow after a change", name)
}

func tm02(e *env) {
	zones := []*time.Location{time.FixedZone("east", 9*3600), time.FixedZone("west", -5*3600), time.FixedZone("odd", 5*3600+1800), time.UTC}
	e.timesCome("zones", func(i int) time.Time {
		return time.Date(2024, 2, 29, 23, 59, 59, 999_999_999-i*1001, zones[i%len(zones)])
	})
	e.timesCome("whole seconds", func(i int) time.Time { return time.Date(2024, 1, 1, 0, 0, i, 0, zones[i%len(zones)]) })
}

func tm03(e *env) {
	e.timesCome("zero", func(i int) time.Time { return time.Time{} })
	e.timesCome("zero, then not", func(i int) time.Time {
		if i%2 == 0 {
			return time.Time{}
		}
		return time.Unix(int64(i), 0).UTC()
	})
	e.timesCome("zero in a zone", func(i int) time.Time { return time.Time{}.In(time.FixedZone("east", 3600)) })
	page, err := e.a.Query(e.Ctx(), persistence.Query{StartedBefore: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), Application: "nobody"})
	e.Must(err, "querying")
	if len(page.Workflows) > 0 {
		e.Errorf("a workflow without a start time was found by one")
	}
}

func tm04(e *env) {
	e.timesCome("old", func(i int) time.Time { return time.Date(1969, 12, 31, 23, 59, 59, 999_999_000-i*1000, time.UTC) })
	e.timesCome("very old", func(i int) time.Time { return time.Date(1600+i, 2, 28, 1, 2, 3, 4000, time.UTC) })
	e.timesCome("far", func(i int) time.Time { return time.Date(9999, 12, 31, 23, 59, 59, 999_999_000-i*1000, time.UTC) })
	e.timesCome("the epoch", func(i int) time.Time { return time.Unix(0, int64(i)*1000).UTC() })
}

// started stores workflows that started at the given times.
func (e *env) started(times map[string]time.Time) {
	e.Helper()
	var cs []*persistence.Commit
	for id, at := range times {
		w := kit.Workflow(id, e.Now())
		w.StartedAt = at
		cs = append(cs, kit.Creation(w))
	}
	e.commitAll(e.a, cs)
}

func (e *env) query(q persistence.Query) []string {
	e.Helper()
	out := []string{}
	for {
		page, err := e.b.Query(e.Ctx(), q)
		e.Must(err, "querying %+v", q)
		for _, h := range page.Workflows {
			out = append(out, h.ID)
		}
		if page.Next == "" {
			return out
		}
		if q.Token = page.Next; len(out) > 100_000 {
			e.Fatalf("the pages never end")
		}
	}
}

func tm05(e *env) {
	noon := time.Date(2024, 6, 1, 12, 0, 0, 0, time.UTC)
	east, west := time.FixedZone("east", 10*3600), time.FixedZone("west", -10*3600)
	e.started(map[string]time.Time{
		"1-sec-before": noon.Add(-time.Second).In(east),
		"2-us-before":  noon.Add(-time.Microsecond).In(west),
		"3-noon":       noon.In(west),
		"4-us-after":   noon.Add(time.Microsecond),
		"5-tenth":      noon.Add(100 * time.Millisecond).In(east),
		"6-ms-later":   noon.Add(101 * time.Millisecond).In(west),
		"7-sec-after":  noon.Add(time.Second).In(east),
	})
	e.List([]string{"7-sec-after", "6-ms-later", "5-tenth", "4-us-after", "3-noon", "2-us-before", "1-sec-before"},
		e.query(persistence.Query{}), "workflows by start time")
	for _, zone := range []*time.Location{time.UTC, east, west} {
		e.List([]string{"4-us-after", "3-noon"},
			e.query(persistence.Query{StartedFrom: noon.In(zone), StartedBefore: noon.Add(100 * time.Millisecond).In(zone)}),
			"workflows that started from noon until a tenth of a second later, bounds in %s", zone)
	}
}

func tm06(e *env) {
	at := time.Date(2024, 6, 1, 12, 0, 0, 0, time.UTC)
	e.started(map[string]time.Time{"b": at.Add(999), "a": at.Add(500), "d": at, "c": at.Add(1), "later": at.Add(1000)})
	e.List([]string{"later", "d", "c", "b", "a"}, e.query(persistence.Query{}), "workflows that started within one microsecond, and one after")
	for size := 1; size <= 3; size++ {
		e.List([]string{"later", "d", "c", "b", "a"}, e.query(persistence.Query{Limit: size}), "the same in pages of %d", size)
	}
}
