package persistence_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func at(second int) time.Time { return time.Date(2026, 1, 2, 3, 4, second, 0, time.UTC) }

func TestPlacesOrderAListing(t *testing.T) {
	header := func(id string, started time.Time) *stabilize.Header {
		return &stabilize.Header{ID: id, StartedAt: started}
	}
	want := []persistence.Place{
		persistence.PlaceOf(header("b", time.Time{})),
		persistence.PlaceOf(header("a", time.Time{})),
		persistence.PlaceOf(header("x", at(9))),
		persistence.PlaceOf(header("z", at(5))),
		persistence.PlaceOf(header("Z", at(5).Add(999*time.Nanosecond))), // below the precision
		persistence.PlaceOf(header("y", time.Unix(-5, 0))),
	}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, persistence.Place.Compare)
	if !slices.Equal(got, want) {
		t.Errorf("the order is %v, want %v", got, want)
	}
}

func TestAQueryIsCheckedAndBroughtToOneForm(t *testing.T) {
	for name, q := range map[string]persistence.Query{
		"limit":       {Limit: -1},
		"application": {Application: "\xff"},
		"config id":   {ConfigID: "\xff"},
		"status":      {Statuses: []stabilize.Status{200}},
		"bounds":      {StartedFrom: at(2), StartedBefore: at(1)},
		"token":       {Token: "nonsense"},
	} {
		if _, err := q.Check(); !errors.Is(err, stabilize.ErrInvalid) {
			t.Errorf("a query with a bad %s is %v", name, err)
		}
	}
	given := []stabilize.Status{stabilize.Succeeded, stabilize.NotStarted, stabilize.Succeeded}
	q := persistence.Query{Statuses: given}
	if after, err := q.Check(); err != nil || after != nil {
		t.Fatalf("after %v, %v", after, err)
	}
	if q.Limit != persistence.DefaultLimit || len(q.Statuses) != 2 || q.Statuses[0] > q.Statuses[1] {
		t.Errorf("checked, it is %+v", q)
	}
	if given[0] != stabilize.Succeeded || given[2] != stabilize.Succeeded {
		t.Errorf("the caller's statuses became %v", given)
	}
	q.Statuses = stabilize.Statuses()
	if _, err := q.Check(); err != nil || q.Statuses != nil {
		t.Errorf("all statuses are %v, %v", q.Statuses, err)
	}
}

func TestATokenIsOfItsQuery(t *testing.T) {
	last := persistence.Place{Start: -3, ID: "a|\",\n"}
	q := persistence.Query{Application: "app", StartedFrom: at(1)}
	if _, err := q.Check(); err != nil {
		t.Fatal(err)
	}
	token := q.MakeToken(last)
	again := persistence.Query{Application: "app", StartedFrom: at(1).In(time.FixedZone("", 3600)), Limit: 7, Token: token, Statuses: stabilize.Statuses()}
	after, err := again.Check()
	if err != nil || after == nil || *after != last {
		t.Errorf("the token is read as %v, %v", after, err)
	}
	for name, q := range map[string]persistence.Query{
		"another application": {Application: "ap", StartedFrom: at(1), Token: token},
		"another bound":       {Application: "app", StartedFrom: at(2), Token: token},
		"another filter":      {Application: "app", StartedFrom: at(1), Statuses: []stabilize.Status{stabilize.Running}, Token: token},
		"a cut token":         {Application: "app", StartedFrom: at(1), Token: token[:len(token)-4]},
		"a changed token":     {Application: "app", StartedFrom: at(1), Token: "A" + token[1:]},
	} {
		if _, err := q.Check(); !errors.Is(err, stabilize.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAQuerySelects(t *testing.T) {
	h := &stabilize.Header{ID: "w", Application: "app", ConfigID: "c", Status: stabilize.Running, StartedAt: at(5)}
	for _, q := range []persistence.Query{
		{}, {Application: "app", ConfigID: "c"}, {Statuses: []stabilize.Status{stabilize.Paused, stabilize.Running}},
		{StartedFrom: at(5)}, {StartedBefore: at(6)},
	} {
		if !q.Selects(h) {
			t.Errorf("%+v does not select", q)
		}
	}
	for _, q := range []persistence.Query{
		{Application: "ap"}, {ConfigID: "C"}, {Statuses: []stabilize.Status{stabilize.Paused}},
		{StartedFrom: at(5).Add(1)}, {StartedBefore: at(5)},
	} {
		if q.Selects(h) {
			t.Errorf("%+v selects", q)
		}
	}
	h.StartedAt = time.Time{}
	if (&persistence.Query{StartedBefore: at(1)}).Selects(h) || (&persistence.Query{StartedFrom: at(1)}).Selects(h) {
		t.Error("a bound selects what has not started")
	}
}
