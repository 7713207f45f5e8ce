package mongostore

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// Who looks sees all that were on their way at any time meanwhile, also those that have
// ended since, and nothing that came before or after.
func TestFlights(t *testing.T) {
	f := newFlights()
	f.begin("before")
	f.end("before")
	f.begin("at first")
	seen, stop := f.watch()
	f.end("at first")
	f.begin("between")
	f.end("between")
	f.begin("to the end")
	stop()
	f.begin("after")
	if got := strings.Join(slices.Sorted(maps.Keys(seen)), ", "); got != "at first, between, to the end" {
		t.Errorf("seen were %s", got)
	}
	if len(f.watchers) != 0 {
		t.Errorf("%d are still looking", len(f.watchers))
	}
}
