package difftest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// message is one to be stored.
type message struct {
	id     string // empty: the store chooses
	kind   int
	about  string // a workflow
	text   string
	delay  time.Duration
	max    int
	worker string // to be leased to, in a commit
}

// The kinds of messages.
const (
	note   = iota // of no workflow
	region        // control lane, stored as JSON
	run           // work lane
	signal        // with values
	quiet         // an address and nothing else
	strange
	kinds
)

// unknown is a message that no registry knows, so it cannot be decoded.
type unknown struct {
	queue.OfWorkflow
	Text string `json:"text"`
}

// Kind implements queue.Message.
func (unknown) Kind() string { return "difftest.unknown" }

func (m message) message() queue.Message {
	switch of := queue.ToWorkflow(m.about); m.kind {
	case region:
		return queue.CancelRegion{OfWorkflow: of, Region: m.text}
	case run:
		return queue.RunTask{OfTask: queue.ToTask(m.about, "stage", m.text)}
	case signal:
		data := stabilize.Values{"number": []byte("9007199254740993"), "text": []byte(`"<é>\u2028"`), "": []byte("null")}
		return queue.SignalStage{OfStage: queue.ToRef(m.about, "ref"), Name: m.text, Data: data}
	case quiet:
		return queue.CompleteStage{OfStage: queue.ToStage(m.about, m.text)}
	case strange:
		return unknown{OfWorkflow: of, Text: m.text}
	default:
		return queue.StartWaitingWorkflows{Key: m.text, Limit: 1}
	}
}

// textOf returns the text of a message made above.
func textOf(m queue.Message) string {
	switch m := m.(type) {
	case queue.CancelRegion:
		return m.Region
	case queue.RunTask:
		return m.TaskID
	case queue.SignalStage:
		return m.Name
	case queue.CompleteStage:
		return m.StageID
	case queue.StartWaitingWorkflows:
		return m.Key
	}
	return "?"
}

func (m message) String() string {
	text := [...]string{"note", "region", "task", "signal", "address", "undecodable"}[m.kind] + " " + m.text
	if m.id != "" {
		text = m.id + "=" + text
	}
	if m.kind != note && m.about != "" {
		text += " of " + m.about
	}
	if m.delay != 0 {
		text += " in " + m.delay.String()
	}
	if m.max > 0 {
		text += fmt.Sprintf(" at most %d×", m.max)
	}
	if m.worker != "" {
		text += " leased to " + m.worker
	}
	return text
}

func messagesText(ms []message) string {
	texts := make([]string, len(ms))
	for i, m := range ms {
		texts[i] = m.String()
	}
	return strings.Join(texts, "; ")
}

// outgoing makes what is sent. Leases have tokens that tell by the text, which
// both sides are given.
func outgoing(p *player, s *side, ms []message) []queue.Outgoing {
	out := make([]queue.Outgoing, len(ms))
	for i, m := range ms {
		out[i] = queue.Outgoing{ID: m.id, Message: m.message(), At: p.due(m.delay), MaxAttempts: m.max}
		if m.worker != "" && m.id != "" {
			out[i].Lease = &queue.Lease{Worker: m.worker, Token: bornToken + m.text}
		}
	}
	return out
}

// learn notes the tokens of messages that were born leased.
func (s *side) learn(c *persistence.Commit) {
	for _, m := range c.Messages {
		if m.Lease != nil {
			s.got[m.ID] = append(s.got[m.ID], queue.Receipt{ID: m.ID, Token: m.Lease.Token})
		}
	}
}

// bornAs notes what another side has learned when a reply was lost.
func (s *side) bornAs(other *side) {
	for name, got := range other.got {
		for _, r := range got {
			if strings.HasPrefix(r.Token, bornToken) && !slices.Contains(s.got[name], r) {
				s.got[name] = append(s.got[name], r)
			}
		}
	}
}

const bornToken = "born "

// name returns what a message is called on both sides; m may be nil if the
// message was seen before.
func (s *side) name(id string, m queue.Message) string {
	if slices.Contains(messageIDs(), id) {
		return id
	}
	if name, ok := s.names[id]; ok {
		return name
	}
	name := "unnamed " + textOf(m)
	if n, ok := m.(queue.DeadLettered); ok {
		name = "notice of " + s.name(n.DeadLetterID, nil)
	}
	s.names[id], s.ids[name] = name, id
	return name
}

// id returns the id of a message by its name.
func (s *side) id(name string) string {
	if id, ok := s.ids[name]; ok {
		return id
	}
	return name
}

// named replaces the ids in a message that the store chose.
func (s *side) named(m queue.Message) queue.Message {
	if n, ok := m.(queue.DeadLettered); ok {
		n.DeadLetterID = s.name(n.DeadLetterID, nil)
		return n
	}
	return m
}
