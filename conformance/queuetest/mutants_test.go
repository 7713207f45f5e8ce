package queuetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/mutant"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

type (
	hooks = mutant.Hooks
	ctxt  = context.Context
	store = persistence.Store
)

// delivered changes each delivery.
func delivered(f func(d *queue.Delivery)) func() *hooks {
	return claimed(func(_ queue.Worker, _ queue.Room, ds []queue.Delivery) []queue.Delivery {
		for i := range ds {
			f(&ds[i])
		}
		return ds
	})
}

// claimed changes what a claim delivers.
func claimed(f func(w queue.Worker, room queue.Room, ds []queue.Delivery) []queue.Delivery) func() *hooks {
	return func() *hooks {
		return &hooks{Claim: func(s store, ctx ctxt, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
			ds, err := s.Claim(ctx, w, room)
			return f(w, room, ds), err
		}}
	}
}

// pushed changes each message before it is stored.
func pushed(f func(o *queue.Outgoing)) func() *hooks {
	return func() *hooks {
		return &hooks{Push: func(s store, ctx ctxt, msgs []queue.Outgoing) error {
			msgs = slices.Clone(msgs)
			for i := range msgs {
				f(&msgs[i])
			}
			return s.Push(ctx, msgs...)
		}}
	}
}

// carried changes the text of each value that is delivered.
func carried(f func(key, raw string) (string, string)) func() *hooks {
	return delivered(func(d *queue.Delivery) {
		if m, ok := d.Message.(queue.SignalStage); ok {
			out := stabilize.Values{}
			for k, raw := range m.Data {
				k, text := f(k, string(raw))
				out[k] = json.RawMessage(text)
			}
			m.Data = out
			d.Message = m
		}
	})
}

// counted changes the counts.
func counted(f func(d *queue.Depth)) func() *hooks {
	return func() *hooks {
		return &hooks{Depth: func(s store, ctx ctxt) (queue.Depth, error) {
			d, err := s.Depth(ctx)
			f(&d)
			return d, err
		}}
	}
}

// buried changes each dead letter that is listed.
func buried(f func(d *queue.DeadLetter)) func() *hooks {
	return func() *hooks {
		return &hooks{ListDead: func(s store, ctx ctxt, after string, limit int) ([]queue.DeadLetter, error) {
			list, err := s.ListDead(ctx, after, limit)
			for i := range list {
				f(&list[i])
			}
			return list, err
		}}
	}
}

func discard(s store, ctx ctxt, ids ...string) {
	_ = s.CommitBatch(ctx, []*persistence.Commit{{Discard: ids}})
}

// set is shared by handles.
type set struct {
	mu sync.Mutex
	m  map[string]int
}

// add returns how often a text was added before.
func (s *set) add(text string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = map[string]int{}
	}
	s.m[text]++
	return s.m[text] - 1
}

func (s *set) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[text] > 0
}

func (s *set) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for k := range s.m {
		out = append(out, k)
	}
	return out
}

func without() map[string]string {
	return map[string]string{"CX-06": "it compares the contract's methods with the suite's own list"}
}

func mutations() []mutant.Mutation {
	return slices.Concat(mutantsOfVisibility(), mutantsOfLeases(), mutantsOfCounts(), mutantsOfDying(), mutantsOfDeadLetters(), mutantsOfOrder(), mutantsOfValues(), mutantsOfTheRest(), mutantsOfCrashes())
}

func mutantsOfVisibility() []mutant.Mutation {
	return []mutant.Mutation{
		{Clause: "VL-01", Does: "finds it an error that there is no message", Hooks: func() *hooks {
			return &hooks{Claim: func(s store, ctx ctxt, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
				if d, err := s.Depth(ctx); err == nil && d.Live()+d.Dead == 0 && room.Work > 0 && room.Work < 3 {
					return nil, &stabilize.NotFoundError{Kind: "message"}
				}
				return s.Claim(ctx, w, room)
			}}
		}},
		{Clause: "VL-02", Does: "forgets when a message was created", Also: []string{"TM-03", "VL-23"}, Hooks: delivered(func(d *queue.Delivery) { d.CreatedAt = time.Time{} })},
		{Clause: "VL-03", Does: "delivers a tick early", Also: []string{"OR-01", "TM-02", "TM-04", "TM-05", "VL-04", "VL-30"}, Hooks: pushed(func(o *queue.Outgoing) {
			if !o.At.IsZero() {
				o.At = o.At.Add(-kit.Tick)
			}
		})},
		{Clause: "VL-04", Does: "delivers a tick late", Also: []string{"TM-02", "TM-04", "TM-05", "VL-03", "VL-05", "VL-27", "VL-30"}, Hooks: pushed(func(o *queue.Outgoing) {
			if !o.At.IsZero() {
				o.At = o.At.Add(kit.Tick)
			}
		})},
		{Clause: "VL-05", Does: "never delivers what was due before 1970", Also: []string{"TM-04"}, Hooks: pushed(func(o *queue.Outgoing) {
			if !o.At.IsZero() && o.At.Unix() < 0 {
				o.At = time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC)
			}
		})},
		{Clause: "VL-07", Does: "delivers to a worker what it holds already", Also: []string{"VL-14"}, Hooks: func() *hooks {
			var mu sync.Mutex
			had := map[string][]queue.Delivery{}
			return claimed(func(w queue.Worker, _ queue.Room, ds []queue.Delivery) []queue.Delivery {
				mu.Lock()
				defer mu.Unlock()
				if len(ds) == 0 && w.ID == "owner" {
					return had[w.ID]
				}
				had[w.ID] = ds
				return ds
			})()
		}},
		{Clause: "VL-08", Does: "does not count a delivery after a lapse", Also: []string{"CL-11", "CR-03", "VL-11", "VL-18", "VL-37"}, Hooks: delivered(func(d *queue.Delivery) {
			if d.LastError == "" {
				d.Attempts = 1
			}
		})},
		{Clause: "VL-09", Does: "delivers again what was acknowledged", Hooks: func() *hooks {
			return &hooks{Ack: func(s store, ctx ctxt, rs []queue.Receipt) error {
				if len(rs) == 1 && rs[0].ID == "n" {
					return s.Release(ctx, rs[0], time.Time{}, nil)
				}
				return s.Ack(ctx, rs...)
			}}
		}},
		{Clause: "VL-10", Does: "removes a message whoever acknowledges it", Also: []string{"VL-13", "VL-43"}, Hooks: func() *hooks {
			return &hooks{Ack: func(s store, ctx ctxt, rs []queue.Receipt) error {
				err := s.Ack(ctx, rs...)
				if errors.Is(err, stabilize.ErrLeaseLost) {
					for _, r := range rs {
						discard(s, ctx, r.ID)
					}
				}
				return err
			}}
		}},
		{Clause: "VL-11", Does: "renews everybody with each heartbeat", Also: []string{"CL-11"}, Hooks: func() *hooks {
			var workers set
			return &hooks{
				Claim: func(s store, ctx ctxt, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
					if w.TTL == kit.TTL {
						workers.add(w.ID)
					}
					return s.Claim(ctx, w, room)
				},
				Heartbeat: func(s store, ctx ctxt, w queue.Worker) (queue.Leases, error) {
					for _, id := range workers.all() {
						if id != w.ID && id != "" && (id == "second" || id == "owner") && w.TTL == kit.TTL {
							_, _ = s.Heartbeat(ctx, kit.Worker(id))
						}
					}
					return s.Heartbeat(ctx, w)
				},
			}
		}},
		{Clause: "VL-12", Does: "says nothing when a lost lease is released", Also: []string{"BI-09", "VL-13", "VL-43"}, Hooks: func() *hooks {
			return &hooks{Release: func(s store, ctx ctxt, r queue.Receipt, at time.Time, cause error) error {
				if err := s.Release(ctx, r, at, cause); !errors.Is(err, stabilize.ErrLeaseLost) {
					return err
				}
				return nil
			}}
		}},
		{Clause: "VL-13", Does: "takes a message's id for its token", Hooks: func() *hooks {
			return &hooks{Ack: func(s store, ctx ctxt, rs []queue.Receipt) error {
				if len(rs) == 1 && rs[0].Token == rs[0].ID && rs[0].ID != "" {
					discard(s, ctx, rs[0].ID)
					return nil
				}
				return s.Ack(ctx, rs...)
			}}
		}},
		{Clause: "VL-14", Does: "takes a TTL of 0 for a default", Also: []string{"BI-09"}, Hooks: func() *hooks {
			return &hooks{Heartbeat: func(s store, ctx ctxt, w queue.Worker) (queue.Leases, error) {
				if w.TTL == 0 {
					w.TTL = kit.TTL
				}
				return s.Heartbeat(ctx, w)
			}}
		}},
		{Clause: "VL-15", Does: "has one TTL for all", Also: []string{"VL-32"}, Hooks: func() *hooks {
			return &hooks{Claim: func(s store, ctx ctxt, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
				if w.TTL > 0 {
					w.TTL = kit.TTL
				}
				return s.Claim(ctx, w, room)
			}}
		}},
		{Clause: "VL-16", Does: "takes a second acknowledgement for a first", Also: []string{"BI-09", "VL-13", "VL-43"}, Hooks: func() *hooks {
			return &hooks{Ack: func(s store, ctx ctxt, rs []queue.Receipt) error {
				if err := s.Ack(ctx, rs...); !errors.Is(err, stabilize.ErrLeaseLost) || len(rs) == 0 || rs[0].ID == "m" {
					return err
				}
				return nil
			}}
		}},
		{Clause: "VL-17", Does: "forgets the cause of a release", Also: []string{"BI-04", "JS-07", "JS-08", "VL-34", "VL-36"}, Hooks: delivered(func(d *queue.Delivery) { d.LastError = "" })},
		{Clause: "VL-18", Does: "does not count what a retired worker was given", Also: []string{"VL-37"}, Hooks: func() *hooks {
			return &hooks{Retire: func(s store, ctx ctxt, worker string) error {
				if l, err := s.Heartbeat(ctx, kit.Worker(worker)); err == nil {
					for _, r := range l.Held {
						_ = s.Return(ctx, r)
					}
				}
				return s.Retire(ctx, worker)
			}}
		}},
		{Clause: "VL-27", Does: "does not say how old the oldest is", Also: []string{"TM-03", "VL-40"}, Hooks: counted(func(d *queue.Depth) { d.Oldest = time.Time{} })},
		{Clause: "VL-28", Does: "counts dead letters as ready", Also: []string{"DD-05", "VL-20", "VL-22", "VL-26", "VL-27"}, Hooks: counted(func(d *queue.Depth) { d.Ready += d.Dead })},
		{Clause: "VL-30", Does: "lists what is like a workflow's id", Hooks: func() *hooks {
			return &hooks{Pending: func(s store, ctx ctxt, id string) ([]queue.Stored, error) {
				list, err := s.Pending(ctx, id)
				if id == "w%" {
					more, _ := s.Pending(ctx, "ww")
					list = append(list, more...)
				}
				return list, err
			}}
		}},
		{Clause: "VL-30", Does: "does not tell how often a message may be delivered", Hooks: func() *hooks {
			return &hooks{Pending: func(s store, ctx ctxt, id string) ([]queue.Stored, error) {
				list, err := s.Pending(ctx, id)
				for i := range list {
					list[i].MaxAttempts = 0
				}
				return list, err
			}}
		}},
		{Clause: "VL-31", Does: "takes the room of one lane for the other", Hooks: func() *hooks {
			return &hooks{Claim: func(s store, ctx ctxt, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
				if room.Control == 4 && room.Work == 2 {
					room.Control, room.Work = 2, 4
				}
				return s.Claim(ctx, w, room)
			}}
		}},
		{Clause: "VL-32", Does: "ignores max attempts", Also: []string{"VL-02", "VL-30"}, Hooks: pushed(func(o *queue.Outgoing) {
			if o.MaxAttempts == 3 {
				o.MaxAttempts = 0
			}
		})},
		{Clause: "VL-33", Does: "never wakes anybody", Hooks: func() *hooks {
			return &hooks{Wake: func(store) <-chan struct{} { return nil }}
		}},
		{Clause: "VL-34", Does: "counts the attempt of what was returned", Also: []string{"OR-06", "VL-36"}, Hooks: func() *hooks {
			return &hooks{Return: func(s store, ctx ctxt, r queue.Receipt) error { return s.Release(ctx, r, time.Time{}, nil) }}
		}},
		{Clause: "VL-36", Does: "voids the tokens of a silent worker at the next claim of anyone", Also: []string{"CR-05"}, Hooks: func() *hooks {
			return &hooks{Claim: func(s store, ctx ctxt, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
				if room == (queue.Room{}) {
					ds, err := s.Claim(ctx, w, kit.Plenty())
					for _, d := range ds {
						_ = s.Return(ctx, d.Receipt())
					}
					return nil, err
				}
				return s.Claim(ctx, w, room)
			}}
		}},
		{Clause: "VL-37", Does: "does not end a worker's lease when it retires", Hooks: func() *hooks {
			return &hooks{Retire: func(s store, ctx ctxt, worker string) error {
				if worker == "leaving" {
					return ctx.Err()
				}
				return s.Retire(ctx, worker)
			}}
		}},
		{Clause: "VL-39", Does: "stores messages one after the other until one fails", Hooks: func() *hooks {
			return &hooks{Push: func(s store, ctx ctxt, msgs []queue.Outgoing) error {
				for _, m := range msgs {
					if err := s.Push(ctx, m); err != nil {
						return err
					}
				}
				return s.Push(ctx)
			}}
		}},
		{Clause: "VL-41", Does: "gives a hint after every claim", Hooks: func() *hooks {
			woken := make(chan struct{}, 1)
			wake := func() {
				select {
				case woken <- struct{}{}:
				default:
				}
			}
			return &hooks{
				Claim: func(s store, ctx ctxt, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
					defer wake()
					return s.Claim(ctx, w, room)
				},
				Wake: func(s store) <-chan struct{} {
					if good := s.(queue.Notifier).Wake(); len(good) > 0 {
						<-good
						wake()
					}
					return woken
				},
			}
		}},
		{Clause: "VL-40", Does: "counts what a silent worker held as leased until somebody claims", Hooks: func() *hooks {
			return &hooks{Depth: func(s store, ctx ctxt) (queue.Depth, error) {
				d, err := s.Depth(ctx)
				if stored, _ := s.Pending(ctx, "w"); len(stored) == 1 && stored[0].ID == "held" {
					d.Ready, d.Leased = 0, 1
				}
				return d, err
			}}
		}},
	}
}

func mutantsOfDeadLetters() []mutant.Mutation {
	return []mutant.Mutation{
		{Clause: "VL-19", Does: "buries a message on its last attempt while it is leased", Hooks: func() *hooks {
			var last set
			return &hooks{Claim: func(s store, ctx ctxt, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
				if w.ID == "other" {
					discard(s, ctx, append(last.all(), "-")...)
				}
				ds, err := s.Claim(ctx, w, room)
				for _, d := range ds {
					if d.Attempts == d.MaxAttempts && w.ID == "owner" {
						last.add(d.ID)
					}
				}
				return ds, err
			}}
		}},
		{Clause: "VL-20", Does: "gives a dead letter a new creation time", Hooks: buried(func(d *queue.DeadLetter) {
			if d.Reason == queue.DeadExhausted {
				d.CreatedAt = d.DiedAt
			}
		})},
		{Clause: "VL-21", Does: "buries the dead again with each claim", Also: []string{"VL-20"}, Hooks: func() *hooks {
			var claims set
			h := buried(func(d *queue.DeadLetter) { d.DiedAt = d.DiedAt.Add(time.Duration(len(claims.all())) * kit.Tick) })()
			h.Claim = func(s store, ctx ctxt, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
				if strings.HasPrefix(w.ID, "sweeper") {
					claims.add(w.ID)
				}
				return s.Claim(ctx, w, room)
			}
			return h
		}},
		{Clause: "VL-22", Does: "does not count what was replayed", Hooks: func() *hooks {
			var replayed set
			h := counted(func(d *queue.Depth) {
				if replayed.has("one") && d.Ready > 0 {
					d.Ready--
				}
			})()
			h.ReplayDead = func(s store, ctx ctxt, id string) error {
				replayed.add(id)
				return s.ReplayDead(ctx, id)
			}
			return h
		}},
		{Clause: "VL-23", Does: "gives a replayed message the default attempts", Hooks: func() *hooks {
			var replayed set
			h := delivered(func(d *queue.Delivery) {
				if replayed.has(d.ID) {
					d.MaxAttempts = queue.DefaultMaxAttempts
				}
			})()
			h.ReplayDead = func(s store, ctx ctxt, id string) error {
				replayed.add(id)
				return s.ReplayDead(ctx, id)
			}
			return h
		}},
		{Clause: "VL-24", Does: "says nothing when an unknown dead letter is discarded", Also: []string{"BI-09"}, Hooks: func() *hooks {
			return &hooks{DiscardDead: func(s store, ctx ctxt, id string) error {
				if err := s.DiscardDead(ctx, id); !errors.Is(err, stabilize.ErrNotFound) {
					return err
				}
				return nil
			}}
		}},
		{Clause: "VL-25", Does: "raises what cannot be decoded", Hooks: func() *hooks {
			return &hooks{Claim: func(s store, ctx ctxt, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
				before, _ := s.Depth(ctx)
				ds, err := s.Claim(ctx, w, room)
				if after, _ := s.Depth(ctx); room.Control == 10 && after.Dead > before.Dead {
					return nil, &stabilize.CorruptError{Table: "messages"}
				}
				return ds, err
			}}
		}},
		{Clause: "VL-26", Does: "waits behind a poisoned message", Hooks: func() *hooks {
			return &hooks{Claim: func(s store, ctx ctxt, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
				if list, _ := s.Pending(ctx, ""); len(list) > 0 && list[0].Message == nil && room.Control == 1 {
					return nil, nil
				}
				return s.Claim(ctx, w, room)
			}}
		}},
		{Clause: "VL-29", Does: "lists a dead letter as pending", Hooks: func() *hooks {
			return &hooks{Pending: func(s store, ctx ctxt, id string) ([]queue.Stored, error) {
				list, err := s.Pending(ctx, id)
				dead, _ := s.ListDead(ctx, "", 100)
				for _, d := range dead {
					if d.WorkflowID == id && id != "" {
						list = append(list, queue.Stored{ID: d.ID, Kind: d.Kind})
					}
				}
				return list, err
			}}
		}},
		{Clause: "VL-35", Does: "tells a workflow nothing of its dead letters", Hooks: func() *hooks {
			return &hooks{Claim: func(s store, ctx ctxt, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
				ds, err := s.Claim(ctx, w, room)
				list, _ := s.Pending(ctx, "w")
				for _, m := range list {
					if n, ok := m.Message.(queue.DeadLettered); ok && n.DeadLetterID == "task" {
						discard(s, ctx, m.ID)
					}
				}
				return ds, err
			}}
		}},
		{Clause: "VL-38", Does: "lists the dead letters by id", Also: []string{"VL-25"}, Hooks: func() *hooks {
			return &hooks{ListDead: func(s store, ctx ctxt, after string, limit int) ([]queue.DeadLetter, error) {
				if limit <= 0 {
					return s.ListDead(ctx, after, limit)
				}
				list, err := s.ListDead(ctx, "", 10_000)
				slices.SortFunc(list, func(a, b queue.DeadLetter) int { return strings.Compare(a.ID, b.ID) })
				list = slices.DeleteFunc(list, func(d queue.DeadLetter) bool { return d.ID <= after })
				return list[:min(limit, len(list))], err
			}}
		}},
		{Clause: "DD-14", Does: "stores a payload as it comes", Hooks: buried(func(d *queue.DeadLetter) {
			if d.ID == "m7" && d.Kind == "SignalStage" {
				d.Body = append(bytes.Clone(d.Body), ' ')
			}
		})},
		{Clause: "DD-15", Does: "replays a message once and never more", Hooks: func() *hooks {
			var replayed set
			return &hooks{ReplayDead: func(s store, ctx ctxt, id string) error {
				if id == "m" && replayed.add(id) > 0 {
					return s.DiscardDead(ctx, id)
				}
				return s.ReplayDead(ctx, id)
			}}
		}},
	}
}

func mutantsOfOrder() []mutant.Mutation {
	sorted := func(less func(a, b queue.Delivery) int) func() *hooks {
		return claimed(func(_ queue.Worker, _ queue.Room, ds []queue.Delivery) []queue.Delivery {
			slices.SortStableFunc(ds, less)
			return ds
		})
	}
	return []mutant.Mutation{
		{Clause: "OR-01", Does: "delivers one lane after the other", Hooks: sorted(func(a, b queue.Delivery) int {
			return int(queue.LaneOf(a.Message)) - int(queue.LaneOf(b.Message))
		})},
		{Clause: "OR-02", Does: "delivers the newest of equals first", Hooks: claimed(func(_ queue.Worker, room queue.Room, ds []queue.Delivery) []queue.Delivery {
			if room.Control == 7 && room.Work == 0 {
				slices.Reverse(ds)
			}
			return ds
		})},
		{Clause: "OR-03", Does: "delivers in the order of storing", Hooks: sorted(func(a, b queue.Delivery) int { return a.CreatedAt.Compare(b.CreatedAt) })},
		{Clause: "OR-04", Does: "delivers the newest first when it has room for one", Also: []string{"BI-04", "CR-06", "OR-06", "VL-27"}, May: []string{"IS-03"}, Hooks: func() *hooks {
			return &hooks{Claim: func(s store, ctx ctxt, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
				if room != (queue.Room{Control: 1}) {
					return s.Claim(ctx, w, room)
				}
				ds, err := s.Claim(ctx, w, queue.Room{Control: 5000})
				for i := range max(len(ds)-1, 0) {
					_ = s.Return(ctx, ds[i].Receipt())
				}
				return ds[max(len(ds)-1, 0):], err
			}}
		}},
		{Clause: "OR-06", Does: "puts what lapsed at the end", Hooks: claimed(func(w queue.Worker, _ queue.Room, ds []queue.Delivery) []queue.Delivery {
			if w.ID == "last" {
				slices.SortStableFunc(ds, func(a, b queue.Delivery) int { return a.Attempts - b.Attempts })
			}
			return ds
		})},
		{Clause: "DD-05", Does: "lets the id of a dead letter be used again", Hooks: func() *hooks {
			return &hooks{Push: func(s store, ctx ctxt, msgs []queue.Outgoing) error {
				err := s.Push(ctx, msgs...)
				if errors.Is(err, stabilize.ErrExists) && len(msgs) == 1 && msgs[0].ID == "dead" {
					return nil
				}
				return err
			}}
		}},
		{Clause: "CL-11", Does: "retires a worker of like name", Hooks: func() *hooks {
			return &hooks{Retire: func(s store, ctx ctxt, worker string) error { return s.Retire(ctx, strings.ToLower(worker)) }}
		}},
		{Clause: "CL-12", Does: "has one fence for all", Also: []string{"CR-06"}, Hooks: func() *hooks {
			return &hooks{Heartbeat: func(s store, ctx ctxt, w queue.Worker) (queue.Leases, error) {
				l, err := s.Heartbeat(ctx, w)
				l.Fence = 1
				return l, err
			}}
		}},
		{Clause: "TM-02", Does: "gives due times in a zone of its own", Also: []string{"TM-03", "VL-02"}, Hooks: delivered(func(d *queue.Delivery) { d.Due = d.Due.In(time.FixedZone("east", 3600)) })},
		{Clause: "TM-03", Does: "lists absent due times as 1970", Hooks: func() *hooks {
			return &hooks{Release: func(s store, ctx ctxt, r queue.Receipt, at time.Time, cause error) error {
				return s.Release(ctx, r, at, cause)
			},
				Pending: func(s store, ctx ctxt, id string) ([]queue.Stored, error) {
					list, err := s.Pending(ctx, id)
					if len(list) == 1 && list[0].ID == "m" {
						list[0].Due = time.Unix(0, 0).UTC()
					}
					return list, err
				}}
		}},
		{Clause: "TM-04", Does: "knows no time after 2262", Hooks: pushed(func(o *queue.Outgoing) {
			if o.At.Year() > 2262 {
				o.At = time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC)
			}
		})},
		{Clause: "TM-05", Does: "drops the zone of a due time", Also: []string{"TM-02"}, Hooks: pushed(func(o *queue.Outgoing) {
			if at := o.At; !at.IsZero() {
				o.At = time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), time.UTC)
			}
		})},
		{Clause: "TM-06", Does: "orders by nanoseconds that it does not keep", Hooks: claimed(func(_ queue.Worker, _ queue.Room, ds []queue.Delivery) []queue.Delivery {
			if len(ds) == 5 && ds[0].ID == "e" {
				slices.Reverse(ds)
			}
			return ds
		})},
		{Clause: "TM-07", Does: "forgets an acknowledgement when the clock steps back", Hooks: func() *hooks {
			return &hooks{Ack: func(s store, ctx ctxt, rs []queue.Receipt) error {
				if len(rs) == 1 && rs[0].ID == "acknowledged" {
					return s.Return(ctx, rs[0])
				}
				return s.Ack(ctx, rs...)
			}}
		}},
	}
}

func mutantsOfValues() []mutant.Mutation {
	replaced := func(old, by string) func() *hooks {
		return carried(func(k, raw string) (string, string) { return k, strings.ReplaceAll(raw, old, by) })
	}
	return []mutant.Mutation{
		{Clause: "JS-01", Does: "reads numbers as floats", Also: []string{"JS-06", "JS-07", "VL-02", "VL-23"}, Hooks: carried(func(k, raw string) (string, string) {
			if f, err := strconv.ParseFloat(raw, 64); err == nil {
				raw = strconv.FormatFloat(f, 'f', -1, 64)
			}
			return k, raw
		})},
		{Clause: "JS-03", Does: "stores null for what is no JSON", Also: []string{"JS-05"}, Hooks: pushed(func(o *queue.Outgoing) {
			if m, ok := o.Message.(queue.SignalStage); ok {
				m.Data = m.Data.Clone()
				for k, raw := range m.Data {
					if !json.Valid(raw) {
						m.Data[k] = json.RawMessage("null")
					}
				}
				o.Message = m
			}
		})},
		{Clause: "JS-05", Does: "loses what is nested deep", Hooks: carried(func(k, raw string) (string, string) {
			if strings.HasPrefix(raw, strings.Repeat("[", 5000)) {
				raw = "[]"
			}
			return k, raw
		})},
		{Clause: "JS-06", Does: "drops byte order marks", Hooks: replaced("\ufeff", "")},
		{Clause: "JS-07", Does: "drops U+0000", Hooks: replaced(`\u0000`, "")},
		{Clause: "JS-08", Does: "mends invalid UTF-8 on its own", Hooks: pushed(func(o *queue.Outgoing) {
			if m, ok := o.Message.(queue.CancelWorkflow); ok {
				m.Reason = strings.ToValidUTF8(m.Reason, "\ufffd")
				o.Message = m
			}
		})},
		{Clause: "JS-09", Does: "reads a dot in a key as a path", Hooks: carried(func(k, raw string) (string, string) {
			if k == "a.b" {
				k = "a"
			}
			return k, raw
		})},
		{Clause: "JS-10", Does: "drops what it cannot write", Hooks: func() *hooks {
			return &hooks{Push: func(s store, ctx ctxt, msgs []queue.Outgoing) error {
				if len(msgs) == 1 && msgs[0].Message != nil && msgs[0].Message.Kind() == (carrier{}).Kind() {
					return nil
				}
				return s.Push(ctx, msgs...)
			}}
		}},
		{Clause: "JS-11", Does: "escapes the bytes of dead letters", Hooks: buried(func(d *queue.DeadLetter) {
			if d.ID == "<&>" {
				d.Body = bytes.ReplaceAll(d.Body, []byte("<"), []byte(`\u003c`))
			}
		})},
	}
}

func mutantsOfTheRest() []mutant.Mutation {
	return []mutant.Mutation{
		{Clause: "IS-02", Does: "loses a message", Hooks: claimed(func(_ queue.Worker, room queue.Room, ds []queue.Delivery) []queue.Delivery {
			if room.Work == 0 && room.Control <= 5 {
				ds = slices.DeleteFunc(ds, func(d queue.Delivery) bool { return d.ID == "number 47" })
			}
			return ds
		})},
		{Clause: "IS-03", Does: "comes back empty when it lost a race", Hooks: func() *hooks {
			return &hooks{Claim: func(s store, ctx ctxt, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
				if w.ID == "worker 3" && room == (queue.Room{Control: 1}) {
					return nil, nil
				}
				return s.Claim(ctx, w, room)
			}}
		}},
		{Clause: "IS-04", Does: "loses a push of many at once", Hooks: func() *hooks {
			return &hooks{Push: func(s store, ctx ctxt, msgs []queue.Outgoing) error {
				if len(msgs) == 2 && msgs[0].ID == "17.1" {
					return nil
				}
				return s.Push(ctx, msgs...)
			}}
		}},
		{Clause: "BI-01", Does: "cuts a worker's id that is too long", Hooks: func() *hooks {
			return &hooks{Heartbeat: func(s store, ctx ctxt, w queue.Worker) (queue.Leases, error) {
				w.ID = w.ID[:min(len(w.ID), stabilize.MaxIDLength)]
				return s.Heartbeat(ctx, w)
			}}
		}},
		{Clause: "BI-04", Does: "lists what is like a workflow's id", Hooks: func() *hooks {
			return &hooks{Pending: func(s store, ctx ctxt, id string) ([]queue.Stored, error) {
				list, err := s.Pending(ctx, id)
				if id == "_" {
					more, _ := s.Pending(ctx, "0")
					list = append(list, more...)
				}
				return list, err
			}}
		}},
		{Clause: "BI-09", Does: "returns errors of two classes", Hooks: func() *hooks {
			return &hooks{ReplayDead: func(s store, ctx ctxt, id string) error {
				err := s.ReplayDead(ctx, id)
				if errors.Is(err, stabilize.ErrNotFound) {
					err = errors.Join(err, stabilize.ErrInvalid)
				}
				return err
			}}
		}},
		{Clause: "CX-01", Does: "retires though it was canceled", Also: []string{"CX-02"}, Hooks: func() *hooks {
			return &hooks{Retire: func(s store, ctx ctxt, worker string) error {
				return errors.Join(s.Retire(context.WithoutCancel(ctx), worker), ctx.Err())
			}}
		}},
		{Clause: "CX-05", Does: "is poisoned by a canceled call", May: []string{"CX-01", "CX-02"}, Hooks: func() *hooks {
			var poisoned set
			return &hooks{
				Depth: func(s store, ctx ctxt) (queue.Depth, error) {
					if ctx.Err() != nil {
						poisoned.add("yes")
					}
					return s.Depth(ctx)
				},
				Push: func(s store, ctx ctxt, msgs []queue.Outgoing) error {
					if poisoned.has("yes") {
						return fmt.Errorf("connection: %w", stabilize.ErrTransient)
					}
					return s.Push(ctx, msgs...)
				},
			}
		}},
		{Clause: "CB-01", Does: "finds it an error to close twice", Hooks: func() *hooks {
			var closed set
			return &hooks{Close: func(s store) error {
				if closed.add(fmt.Sprintf("%p", s)) > 0 {
					return stabilize.ErrClosed
				}
				return s.Close()
			}}
		}},
		{Clause: "CB-02", Does: "counts after Close", Hooks: func() *hooks {
			return &hooks{Depth: func(s store, ctx ctxt) (queue.Depth, error) {
				d, err := s.Depth(ctx)
				if errors.Is(err, stabilize.ErrClosed) {
					err = nil
				}
				return d, err
			}}
		}},
	}
}
