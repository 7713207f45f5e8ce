package model

import (
	"fmt"
	"slices"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// runFor is when the task, or its instance of that index, ends that begins at a
// time, with its retries.
func (p *game) runFor(s *Stage, from time.Duration, index int) time.Duration {
	takes := s.Takes + time.Duration(index)*InstanceTakes
	ends := from + takes
	for range s.Flaky {
		ends = p.awake(ends+RetryDelay) + takes
	}
	return ends
}

// beginInstances says when each instance ends: it begins with its stage, or when
// one of the first of those before it ends.
func (p *game) beginInstances(r *run) {
	s := p.stages[r.Ref]
	var places []time.Duration // when each is free again
	for i := range s.Instances {
		from := p.now
		if s.Limit > 0 && len(places) == s.Limit {
			first := slices.Index(places, slices.Min(places))
			from = p.awake(places[first])
			places = slices.Delete(places, first, first+1)
		}
		ends := p.runFor(s, from, i)
		places = append(places, ends)
		r.parts = append(r.parts, ends)
		r.ends = max(r.ends, ends)
	}
}

// instances are what became of the instances of a stage: what had not ended when
// the stage did ended with it.
func (p *game) instances(r *run) []Execution {
	s := p.stages[r.Ref]
	var out []Execution
	for i, ends := range r.parts {
		e := Execution{Ref: fmt.Sprintf("%s[%d]", r.Ref, i), Status: r.Status, Reason: r.Reason}
		if ends <= r.ended {
			e.Status, e.Reason, e.Ran = stabilize.Succeeded, "", s.calls()
		}
		out = append(out, e)
	}
	return out
}
