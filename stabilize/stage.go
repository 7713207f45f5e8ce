package stabilize

import (
	"slices"
	"time"
)

// Stage is one execution of a stage: (workflow, Ref, Round). The first run is
// round 0; a jump, a restart or a further arrival at a merge opens the next.
type Stage struct {
	ID       string `json:"id"`
	Ref      string `json:"ref"`
	Round    int    `json:"round,omitempty"`
	Position int    `json:"position"` // index at which it was declared or added; the only order
	Type     string `json:"type,omitempty"`
	Name     string `json:"name,omitempty"`

	Requisites []string `json:"requisites,omitempty"` // refs it depends on: a set, kept sorted
	Threshold  int      `json:"threshold,omitempty"`  // how many live tokens JoinNOfM and JoinMerge need
	Rules      *Rules   `json:"rules,omitempty"`      // nil for a plain stage

	Join      JoinType  `json:"join,omitempty"`
	OnFailure OnFailure `json:"onFailure,omitempty"`
	Disabled  bool      `json:"disabled,omitempty"` // skipped when its turn comes; its tokens are live
	// A synthetic stage belongs to a parent, named below, and runs before its
	// tasks, after them, when it failed, or as one of its instances.
	Owner         Owner  `json:"owner,omitempty"`
	AllowSiblings bool   `json:"allowSiblings,omitempty"` // a failed child lets its siblings go on
	Status        Status `json:"status"`
	// Ending is the status the stage will take once what is still in flight in
	// it (children, cancel hooks, cleanup) has ended; NotStarted: none decided.
	Ending Status `json:"ending,omitempty"`
	// Superseded: a jump or a restart opened a later round in its place; it is
	// history, whatever it does now has no effect on others.
	Superseded     bool `json:"superseded,omitempty"`
	BeforePlanned  bool `json:"beforePlanned,omitempty"`
	AfterPlanned   bool `json:"afterPlanned,omitempty"`
	FailurePlanned bool `json:"failurePlanned,omitempty"`

	ParentID string      `json:"parentId,omitempty"`
	Reason   string      `json:"reason,omitempty"`
	Failure  *Failure    `json:"failure,omitempty"`
	Tokens   Tokens      `json:"tokens,omitzero"` // what it put on its outgoing edges when it ended
	State    *StageState `json:"state,omitempty"` // nil for most

	Context Values  `json:"context,omitempty"` // input and running state, seen by this stage only
	Outputs Values  `json:"outputs,omitempty"` // seen by every stage downstream
	Tasks   []*Task `json:"tasks,omitempty"`   // in the order of their Position

	StartedAt   time.Time     `json:"startedAt,omitzero"`
	EndedAt     time.Time     `json:"endedAt,omitzero"`
	StartExpiry time.Time     `json:"startExpiry,omitzero"` // not begun by then: skipped
	Timeout     time.Duration `json:"timeout,omitempty"`    // from start to end, time paused not counted; 0: none

	// Version is the workflow version of the commit that last changed the
	// stage; kept by the store.
	Version int64 `json:"-"`
}

// Task is one task of a stage. The code it runs is a TaskType.
type Task struct {
	ID       string `json:"id"` // stable over attempts: the idempotency key
	Position int    `json:"position"`
	Name     string `json:"name"`
	Type     string `json:"type"` // name in the Registry

	Status Status   `json:"status"`
	Phase  RunPhase `json:"phase,omitempty"` // what Run is to do
	// CleanedUp: the cleanup hook has run (or there is none to run).
	CleanedUp bool     `json:"cleanedUp,omitempty"`
	Planned   bool     `json:"planned,omitempty"` // by the stage's type; not declared
	Reason    string   `json:"reason,omitempty"`
	Failure   *Failure `json:"failure,omitempty"`

	// Run is the id of the durable RunTask message while one is out.
	Run  string `json:"run,omitempty"`
	Wait *Wait  `json:"wait,omitempty"` // nil for a task that never waited

	Failures  int    `json:"failures,omitempty"`  // tries that failed transiently
	Polls     int    `json:"polls,omitempty"`     // runs that answered RUNNING
	Signal    string `json:"signal,omitempty"`    // name of the signal a suspended task waits for
	LastError string `json:"lastError,omitempty"` // of the last try that failed transiently

	StartedAt time.Time `json:"startedAt,omitzero"`
	EndedAt   time.Time `json:"endedAt,omitzero"`
}

// Wait is what a task waits for, or has waited for.
type Wait struct {
	Due      time.Time `json:"due,omitzero"`       // when its run is, if that was put off
	Received *Signal   `json:"received,omitempty"` // the signal that ended its wait, until its run has answered
	Child    string    `json:"child,omitempty"`    // id of the workflow it started, or waits for
	// ChildVersion is the version of that workflow which the task knows of: that
	// of its end, or of its restart. Older news is dropped.
	ChildVersion int64 `json:"childVersion,omitempty"`
	// Used is how much of its time a task with a timeout has used up: its runs that
	// answered, and the delays after them.
	Used time.Duration `json:"used,omitempty"`
}

// Waits returns what the task waits for, never nil. Read it only.
func (t *Task) Waits() *Wait {
	if t.Wait == nil {
		return &Wait{}
	}
	return t.Wait
}

// Waiting returns what the task waits for, for changing. The task must be a
// draft's.
func (t *Task) Waiting() *Wait {
	if t.Wait == nil {
		t.Wait = &Wait{}
	}
	return t.Wait
}

// IsSynthetic reports whether the stage belongs to a parent.
func (s *Stage) IsSynthetic() bool { return s.ParentID != "" }

// IsInitial reports whether the stage waits for no other.
func (s *Stage) IsInitial() bool { return len(s.Requisites) == 0 }

// HaltsWorkflow reports whether the stage ended so that its workflow ends with
// it: a declared stage that failed, or was canceled without being withdrawn,
// and was not superseded since.
func (s *Stage) HaltsWorkflow() bool {
	return !s.Superseded && !s.IsSynthetic() && (s.Status == Terminal || s.Status == Canceled && s.Reason != ReasonWithdrawn)
}

// Task returns the task with that id, or nil.
func (s *Stage) Task(id string) *Task {
	for _, t := range s.Tasks {
		if t.ID == id {
			return t
		}
	}
	return nil
}

// TaskAfter returns the task declared after t, or nil.
func (s *Stage) TaskAfter(t *Task) *Task {
	for i, u := range s.Tasks {
		if u.ID == t.ID && i+1 < len(s.Tasks) {
			return s.Tasks[i+1]
		}
	}
	return nil
}

// nextRound makes the next round of the stage, as it was declared.
func (s *Stage) nextRound(ids *IDs) *Stage {
	c := &Stage{
		ID: ids.New(), Ref: s.Ref, Round: s.Round + 1, Type: s.Type, Name: s.Name,
		Requisites: cloneSlice(s.Requisites), Join: s.Join, Threshold: s.Threshold,
		OnFailure: s.OnFailure, Disabled: s.Disabled, Rules: s.Rules.Clone(),
		ParentID: s.ParentID, Owner: s.Owner, AllowSiblings: s.AllowSiblings,
		Context: s.Context.Clone(), Timeout: s.Timeout,
	}
	if s.State != nil && s.State.Initial != nil {
		c.Context = s.State.Initial.Clone()
	}
	if s.Owner == OwnerInstance {
		c.Note().Index = s.Known().Index
	}
	for _, t := range s.Tasks {
		if !t.Planned {
			c.Tasks = append(c.Tasks, &Task{ID: ids.New(), Position: len(c.Tasks), Name: t.Name, Type: t.Type})
		}
	}
	return c
}

// WriteContext lays v over the context of a stage of a draft, keeping the
// declared one for later rounds.
func (s *Stage) WriteContext(v Values) {
	if len(v) == 0 {
		return
	}
	if s.State == nil || s.State.Initial == nil {
		initial := s.Context.Clone()
		s.Note().Initial = &initial
	}
	s.Context = s.Context.Merge(v)
}

// Label is the name a person knows the stage by.
func (s *Stage) Label() string {
	if s.Name != "" {
		return s.Name
	}
	return s.Ref
}

// Clone returns a copy that shares nothing mutable with s.
func (s *Stage) Clone() *Stage {
	c, tasks := s.room()
	list, requisites := c.Tasks, c.Requisites
	*c = *s
	c.Requisites = append(requisites, s.Requisites...)
	c.Failure = clonePtr(s.Failure)
	c.Tokens.Except = cloneSlice(s.Tokens.Except)
	c.Rules, c.State = s.Rules.Clone(), s.State.Clone()
	c.Context, c.Outputs = s.Context.Clone(), s.Outputs.Clone()
	c.Tasks = list
	for i, t := range s.Tasks {
		tasks[i] = *t
		tasks[i].Failure = clonePtr(t.Failure)
		tasks[i].Wait = t.Wait.clone()
		c.Tasks[i] = &tasks[i]
	}
	return c
}

// room allocates a stage with place for as many tasks and requisites as s has.
// A step copies its stage several times; most have one task and at most one
// requisite, whose lists lie beside the stage. (Its task does not: past 512 bytes
// Go's allocator is slower.)
func (s *Stage) room() (*Stage, []Task) {
	tasks := make([]Task, len(s.Tasks))
	if len(s.Tasks) == 1 && len(s.Requisites) <= 1 {
		r := &struct {
			stage     Stage
			tasks     [1]*Task
			requisite [1]string
		}{}
		r.stage.Tasks = r.tasks[:]
		if len(s.Requisites) == 1 {
			r.stage.Requisites = r.requisite[:0]
		}
		return &r.stage, tasks
	}
	c := &Stage{}
	if len(s.Requisites) > 0 {
		c.Requisites = make([]string, 0, len(s.Requisites))
	}
	if len(tasks) > 0 {
		c.Tasks = make([]*Task, len(tasks))
	}
	return c, tasks
}

// Answered forgets the signal that a task of a draft received, and when its run
// was due.
func (t *Task) Answered() {
	if t.Wait != nil {
		t.Wait.Due, t.Wait.Received = time.Time{}, nil
	}
}

// Prompt forgets when the run of a task of a draft was due: it is now.
func (t *Task) Prompt() {
	if t.Wait != nil {
		t.Wait.Due = time.Time{}
	}
}

func (w *Wait) clone() *Wait {
	if w == nil {
		return nil
	}
	c := *w
	if c.Received = clonePtr(w.Received); c.Received != nil {
		c.Received.Data = w.Received.Data.Clone()
	}
	return &c
}

func cloneSlice[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return slices.Clone(s)
}
