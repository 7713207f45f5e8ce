package queuetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// env is what a clause works with: two handles on one fresh queue.
type env struct {
	*kit.Env
	h    conformance.QueueHarness
	a, b queue.Queue
}

type check = conformance.Check[conformance.QueueHarness]

// clause pairs a sentence with its test.
func clause(id, sentence string, run func(*env)) check { return clauseFor("", id, sentence, run) }

// clauseFor is clause for backends that have a power.
func clauseFor(needs conformance.Power, id, sentence string, run func(*env)) check {
	return check{
		Clause: conformance.Clause{ID: id, Group: id[:2], Sentence: sentence, Needs: needs},
		Run: func(t conformance.T, h conformance.QueueHarness, effort conformance.Effort) {
			run(&env{Env: &kit.Env{T: t, Clock: h.Clock(), Effort: effort}, h: h, a: h.Queue(), b: h.Second()})
		},
	}
}

// both returns handle i of a race: the first and the second in turn.
func (e *env) both(i int) queue.Queue {
	if i%2 == 0 {
		return e.a
	}
	return e.b
}

// power returns a power of the harness that the runner has made sure of.
func power[P any](e *env) P {
	p, _ := conformance.Find[P](e.h)
	return p
}

func (e *env) ack(q queue.Queue, d queue.Delivery) {
	e.Helper()
	e.Must(q.Ack(e.Ctx(), d.Receipt()), "acknowledging %q", d.ID)
}

// release gives a delivery back at once.
func (e *env) release(q queue.Queue, d queue.Delivery, cause error) {
	e.Helper()
	e.Must(q.Release(e.Ctx(), d.Receipt(), time.Time{}, cause), "releasing %q", d.ID)
}

func (e *env) heartbeat(q queue.Queue, w queue.Worker) queue.Leases {
	e.Helper()
	l, err := q.Heartbeat(e.Ctx(), w)
	e.Must(err, "a heartbeat of %q", w.ID)
	return l
}

func (e *env) depth(ready, delayed, leased, dead int, when string, args ...any) {
	e.Helper()
	for i := range 2 {
		d := e.Depth(e.both(i))
		if d.Ready != ready || d.Delayed != delayed || d.Leased != leased || d.Dead != dead {
			e.Errorf("%s handle %d counts %d ready, %d delayed, %d leased, %d dead; want %d, %d, %d, %d",
				fmt.Sprintf(when, args...), i, d.Ready, d.Delayed, d.Leased, d.Dead, ready, delayed, leased, dead)
		}
	}
}

// about makes a message that belongs to a workflow.
func about(workflowID, text string) queue.Outgoing {
	return queue.Outgoing{ID: text, Message: queue.CancelRegion{OfWorkflow: queue.ToWorkflow(workflowID), Region: text}}
}

// work makes a message of the work lane.
func work(text string) queue.Outgoing {
	return queue.Outgoing{ID: text, Message: queue.RunTask{OfTask: queue.ToTask("workflow", "stage", text)}}
}

// signal carries values.
func signal(id string, v stabilize.Values) queue.Outgoing {
	return queue.Outgoing{ID: id, Message: queue.SignalStage{OfStage: queue.ToStage("w", "s"), Name: "n", Data: v}}
}

// stranger is of a kind that no registry knows.
type stranger struct {
	queue.OfStage
	Text string `json:"text"`
}

func (stranger) Kind() string { return "conformance.Stranger" }

// liar says that it is a SignalStage, and cannot be read as one.
type liar struct {
	queue.OfStage
	Name int `json:"name"`
}

func (liar) Kind() string { return queue.SignalStage{}.Kind() }

// poison is two messages that cannot be decoded.
func poison(workflowID string) []queue.Outgoing {
	return []queue.Outgoing{
		{ID: "stranger", Message: stranger{OfStage: queue.ToStage(workflowID, "s"), Text: "<raw>"}},
		{ID: "liar", Message: liar{OfStage: queue.ToStage(workflowID, "s"), Name: 7}},
	}
}

// kinds is one message of every registered kind, every field of each filled.
func (e *env) kinds() []queue.Message {
	e.Helper()
	all := []queue.Message{
		queue.StartWorkflow{}, queue.CompleteWorkflow{}, queue.CancelWorkflow{}, queue.PauseWorkflow{}, queue.ResumeWorkflow{},
		queue.RescheduleWorkflow{}, queue.StartWaitingWorkflows{}, queue.StartStage{}, queue.CompleteStage{}, queue.SkipStage{},
		queue.CancelStage{}, queue.AbortStage{}, queue.PauseStage{}, queue.ResumeStage{}, queue.RestartStage{},
		queue.ContinueParentStage{}, queue.JumpToStage{}, queue.SignalStage{}, queue.CancelRegion{}, queue.AddMultiInstance{},
		queue.CloseMultiInstance{}, queue.TimeoutStage{}, queue.TimeoutWorkflow{}, queue.RetryWorkflow{},
		queue.CreateWorkflow{}, queue.ChildEnded{}, queue.ReportEnd{}, queue.AcquireLock{}, queue.ReleaseLock{}, queue.LockGranted{},
		queue.StartTask{}, queue.RunTask{}, queue.CompleteTask{}, queue.PauseTask{}, queue.ResumeTask{},
		queue.InvalidWorkflowID{}, queue.InvalidStageID{}, queue.InvalidTaskID{}, queue.InvalidTaskType{}, queue.DeadLettered{},
	}
	known := map[string]bool{}
	for i, m := range all {
		known[m.Kind()] = true
		p := reflect.New(reflect.TypeOf(m))
		(&kit.Filler{Env: e.Env, Seed: i + 1}).Fill(p.Interface())
		if c, ok := p.Interface().(*queue.CreateWorkflow); ok {
			c.Header.Version = 0 // a store's, not a message's
		}
		all[i] = p.Elem().Interface().(queue.Message)
	}
	for _, k := range queue.NewRegistry().Kinds() {
		if !known[k] {
			e.Fatalf("the suite does not know the message kind %q: add it to kinds", k)
		}
	}
	return all
}

func cause() error { return errors.New("failed on purpose: <é>") }

func nested(depth int) json.RawMessage {
	b := make([]byte, 2*depth)
	for i := range depth {
		b[i], b[2*depth-1-i] = '[', ']'
	}
	return b
}
