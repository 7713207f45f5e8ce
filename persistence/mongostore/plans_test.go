//go:build unix

package mongostore_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
)

// plans knows the indexes that were made, by the fields that they begin with.
type plans struct {
	mu    sync.Mutex
	leads map[string][]string // by collection
}

// check returns an error for a command that has a server look at every document of a
// collection: no index begins with a field that it asks for or sorts by. Plans are told
// differently by every server, and by some not at all.
func (p *plans) check(e *event.CommandStartedEvent) error {
	name, _ := e.Command.Lookup(e.CommandName).StringValueOK()
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.CommandName == "createIndexes" {
		if p.leads == nil {
			p.leads = map[string][]string{}
		}
		keys := must(e.Command.Lookup("indexes", "0", "key").Document().Elements())
		p.leads[name] = append(p.leads[name], keys[0].Key())
	}
	var filters []bson.Raw
	for _, field := range []string{"filter", "query"} {
		if filter, ok := e.Command.Lookup(field).DocumentOK(); ok {
			filters = append(filters, filter)
		}
	}
	for _, list := range []string{"updates", "deletes"} {
		if array, ok := e.Command.Lookup(list).ArrayOK(); ok {
			for _, v := range must(array.Values()) {
				filters = append(filters, v.Document().Lookup("q").Document())
			}
		}
	}
	leads := append([]string{"_id"}, p.leads[name]...)
	if sort, ok := e.Command.Lookup("sort").DocumentOK(); ok && within(sort, leads, 1) {
		return nil
	}
	for _, filter := range filters {
		switch {
		case within(filter, leads, -1):
		case len(filter) <= 5 && strings.HasSuffix(name, "messages"): // as many as are counted
		case len(filter) <= 5 && strings.HasSuffix(name, "admissions"): // all keys are listed
		default:
			return fmt.Errorf("%s %s by %s looks at every document", e.CommandName, name, filter)
		}
	}
	return nil
}

// within reports whether one of the first so many fields of a filter, -1: of all, is in
// a list, or of each of its alternatives.
func within(filter bson.Raw, leads []string, first int) bool {
	for i, e := range must(filter.Elements()) {
		if i == first {
			return false
		}
		if slices.Contains(leads, e.Key()) {
			return true
		}
		if e.Key() == "$or" && !slices.ContainsFunc(must(e.Value().Array().Values()), func(v bson.RawValue) bool {
			return !within(v.Document(), leads, first)
		}) {
			return true
		}
	}
	return false
}
