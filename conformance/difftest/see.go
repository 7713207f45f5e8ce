package difftest

import (
	"maps"

	"github.com/stabilize-dev/go-stabilize/persistence"
)

// sight is all that can be seen of a store.
type sight struct {
	Workflows, Headers, Changed, Pending, Admissions map[string]result

	// Events are those of the last commit of each workflow.
	Events map[string]result

	Queue, Dead, WaitingKeys, Unfinished, Listed result
}

// see looks at everything through a handle that is not hostile. Names that are
// learned on the way are forgotten: the other side may not have learned them.
func (p *player) see(s *side, handle by) sight {
	calm := *s
	calm.handles = s.calm()
	calm.names, calm.ids = maps.Clone(s.names), maps.Clone(s.ids)
	out := sight{
		Workflows: map[string]result{}, Headers: map[string]result{}, Changed: map[string]result{},
		Pending: map[string]result{}, Admissions: map[string]result{}, Events: map[string]result{},
	}
	look := func(o op) result { return p.safely(&calm, o.on(p)) }
	changed := func(id string) result {
		return p.safely(&calm, func(s *side) result { return p.changed(s, handle, id, 1) })
	}
	for _, id := range workflowIDs() {
		out.Workflows[id] = look(load{handle, id})
		out.Headers[id] = look(summary{handle, id})
		out.Changed[id] = changed(id)
		out.Pending[id] = look(pending{handle, id})
		if persistence.EventLogOf(p.candidate.harness.Store()) != nil {
			out.Events[id] = look(told{handle, id})
		}
	}
	out.Pending["none"] = look(pending{handle, ""})
	for _, key := range keys() {
		out.Admissions[key] = look(admissions{handle, key})
	}
	out.Queue = look(depth{handle})
	out.Dead = look(listDead{handle, "", 1000})
	out.WaitingKeys = look(waitingKeys{handle})
	out.Unfinished = look(watch{handle, append(workflowIDs(), "nobody", workflowIDs()[0])})
	out.Listed = look(pages{handle, persistence.Query{Limit: 2}})
	return out
}
