package stabilize

import "time"

// StageState is what a stage execution knows of itself beyond its status; most
// have none.
type StageState struct {
	// Origin says why a round after the first was opened.
	Origin *Origin `json:"origin,omitempty"`
	// Consumed are the tokens that the execution was started with, where its
	// upstream stages ended more than once; none: the first of each edge.
	Consumed []Token `json:"consumed,omitempty"`
	// Bypass: it was jumped to, so its join is not asked.
	Bypass bool `json:"bypass,omitempty"`
	// Index is its number among the instances or iterations of its parent, or
	// among the threads of a split if it is Threaded.
	Index    int  `json:"index,omitempty"`
	Threaded bool `json:"threaded,omitempty"`
	// Repeated: its tasks were made afresh, so a message may name one that is gone.
	Repeated bool `json:"repeated,omitempty"`
	// Jump is a jump out of the stage that waits for joins to reset.
	Jump *Jump `json:"jump,omitempty"`
	// Multi counts the instances of a Multi, or the iterations of a Loop.
	Multi *MultiState `json:"multi,omitempty"`
	// Chosen: the deferred choice fell on it.
	Chosen bool `json:"chosen,omitempty"`
	// Initial is the context as declared, if a task has changed it since.
	Initial *Values `json:"initial,omitempty"`
	// Timer is the id of the message that ends the stage when its time is over.
	Timer string `json:"timer,omitempty"`
	// PausedAt is set while the stage alone is paused, Paused how long it was
	// before.
	PausedAt time.Time     `json:"pausedAt,omitzero"`
	Paused   time.Duration `json:"paused,omitempty"`
}

// Token is one token on an edge, by the execution that put it there.
type Token struct {
	Ref    string `json:"ref"`
	Round  int    `json:"round,omitempty"`
	Thread int    `json:"thread,omitempty"`
}

// OriginKind says why a round was opened.
type OriginKind string

// The kinds of origin.
const (
	OriginJump    OriginKind = "jump"
	OriginRestart OriginKind = "restart"
	OriginToken   OriginKind = "token" // a further arrival
)

// Origin says why a round was opened, and by whom.
type Origin struct {
	Kind    OriginKind `json:"kind"`
	From    string     `json:"from,omitempty"` // ref jumped from
	By      string     `json:"by,omitempty"`   // user who restarted
	At      time.Time  `json:"at,omitzero"`
	Failure *Failure   `json:"failure,omitempty"` // of the round before
}

// Jump is where to go from a stage.
type Jump struct {
	Target  string `json:"target"`
	Context Values `json:"context,omitempty"`
}

// MultiState counts the instances of a stage.
type MultiState struct {
	Total   int  `json:"total,omitempty"`   // made
	Started int  `json:"started,omitempty"` // of them
	Running int  `json:"running,omitempty"`
	Good    int  `json:"good,omitempty"`   // ended well
	Closed  bool `json:"closed,omitempty"` // no more can be added
	Met     bool `json:"met,omitempty"`    // complete: no more are started
	// Keys of added instances, so that adding one again adds none.
	Keys []string `json:"keys,omitempty"`
}

// Clone returns a deep copy.
func (s *StageState) Clone() *StageState {
	if s == nil {
		return nil
	}
	c := *s
	if c.Origin = clonePtr(s.Origin); c.Origin != nil {
		c.Origin.Failure = clonePtr(s.Origin.Failure)
	}
	c.Consumed = cloneSlice(s.Consumed)
	if c.Jump = clonePtr(s.Jump); c.Jump != nil {
		c.Jump.Context = s.Jump.Context.Clone()
	}
	if c.Multi = clonePtr(s.Multi); c.Multi != nil {
		c.Multi.Keys = cloneSlice(s.Multi.Keys)
	}
	if c.Initial = clonePtr(s.Initial); c.Initial != nil {
		*c.Initial = s.Initial.Clone()
	}
	return &c
}

// Known returns the stage's state, never nil. Read it only.
func (s *Stage) Known() *StageState {
	if s.State == nil {
		return &StageState{}
	}
	return s.State
}

// Note returns the stage's state for changing. The stage must be a draft's.
func (s *Stage) Note() *StageState {
	if s.State == nil {
		s.State = &StageState{}
	}
	return s.State
}

// check returns ErrInvalid unless the state can be stored.
func (s *StageState) check(field string) error {
	if s == nil {
		return nil
	}
	ok := areText(s.Timer)
	if o := s.Origin; o != nil {
		ok = ok && areText(string(o.Kind), o.From, o.By) && o.Failure.isText()
	}
	for _, t := range s.Consumed {
		ok = ok && areText(t.Ref)
	}
	if s.Multi != nil {
		ok = ok && areText(s.Multi.Keys...)
	}
	if !ok || s.Jump != nil && !areText(s.Jump.Target) {
		return Invalid(field, "is not valid UTF-8")
	}
	if s.Initial != nil {
		if err := s.Initial.Check(field); err != nil {
			return err
		}
	}
	if s.Jump != nil {
		return s.Jump.Context.Check(field)
	}
	return nil
}
