package faults

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// commit returns what the store gets instead of c, which stays as it is.
func (p *Plan) commit(c *persistence.Commit, r *rand.Rand) *persistence.Commit {
	if p.Copies <= 0 && !p.NoBirthLeases {
		return c
	}
	hostile := *c
	copies := p.copies(c.Messages, r)
	hostile.Messages = slices.Concat(c.Messages, copies)
	if p.NoBirthLeases {
		for i := range hostile.Messages {
			hostile.Messages[i].Lease = nil
		}
	}
	var gone []string // copies of what is discarded, and of earlier messages with the same id
	for _, id := range c.Discard {
		for k := range p.Copies {
			gone = append(gone, copyID(id, k))
		}
	}
	for _, m := range copies {
		gone = append(gone, m.ID)
	}
	gone = slices.DeleteFunc(gone, func(id string) bool { return id == "" })
	hostile.Discard = slices.Concat(c.Discard, gone)
	return &hostile
}

// copies returns the copies of the messages, in any order.
func (p *Plan) copies(msgs []queue.Outgoing, r *rand.Rand) []queue.Outgoing {
	var copies []queue.Outgoing
	for _, m := range msgs {
		for k := range p.Copies {
			c := m
			c.ID, c.Lease = copyID(m.ID, k), nil
			if p.Late > 0 && r.IntN(2) == 0 {
				c.At = p.due(m.At).Add(time.Duration(r.Int64N(int64(p.Late)) + 1))
			}
			copies = append(copies, c)
		}
	}
	r.Shuffle(len(copies), func(i, j int) { copies[i], copies[j] = copies[j], copies[i] })
	return copies
}

func (p *Plan) due(at time.Time) time.Time {
	if now := p.Clock.Now(); at.Before(now) {
		return now
	}
	return at
}

// copyID names a copy after its message, so that discarding the one can discard
// the other from any handle. Of a message that leaves its name to the store the
// copies do so too.
func copyID(id string, k int) string {
	name := fmt.Sprintf("%s~%d", id, k+1)
	if id == "" || len(name) > stabilize.MaxIDLength {
		return ""
	}
	return name
}
