package stabilize_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// scene is a join "m" and what stands before it, written as "ref.round" with a
// mark for what that execution put out: "+" a live token, "-" a dead one, "?"
// nothing yet, "+3" three threads. A stage without a mark has not begun.
func scene(join stabilize.JoinType, threshold int, executions ...string) *stabilize.Workflow {
	w := flow()
	var refs []string
	for i, text := range executions {
		at := strings.IndexAny(text, "+-?")
		ref, round, _ := strings.Cut(text[:at], ".")
		s := &stabilize.Stage{ID: text[:at], Ref: ref, Position: i, Status: stabilize.Succeeded}
		if round != "" {
			s.Round = int(round[0] - '0')
		}
		switch text[at] {
		case '+':
			s.Tokens.Kind = stabilize.TokenLive
			if len(text) > at+1 {
				s.Tokens.Threads = int32(text[at+1] - '0')
			}
		case '-':
			s.Status, s.Tokens.Kind = stabilize.Stopped, stabilize.TokenDead
		default:
			s.Status = stabilize.Running
		}
		if !slices.Contains(refs, ref) {
			refs = append(refs, ref)
		}
		w.Stages = append(w.Stages, s)
	}
	slices.Sort(refs)
	m := &stabilize.Stage{ID: "m", Ref: "m", Position: len(w.Stages), Requisites: refs, Join: join, Threshold: threshold}
	w.Stages = append(w.Stages, m)
	return w
}

func tokens(list []stabilize.Token) string {
	var out []string
	for _, t := range list {
		text := t.Ref
		if t.Round > 0 || t.Thread > 0 {
			text += fmt.Sprintf(".%d", t.Round)
		}
		if t.Thread > 0 {
			text += fmt.Sprintf("#%d", t.Thread)
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

// fire lets the join act on an arrival, as a handler does.
func fire(w *stabilize.Workflow, a stabilize.Arrival) {
	last := w.StageByRef("m")
	if len(a.Absorb) > 0 {
		last.Note().Consumed = append(last.Note().Consumed, a.Absorb...)
		return
	}
	if last.Status == stabilize.NotStarted {
		last.Status = stabilize.Succeeded
		last.Note().Consumed = a.Fire
		return
	}
	d := stabilize.NewDraft(w)
	next := d.OpenRound("m", stabilize.NewIDs(stabilize.NewManualClock(noon()), nil), stabilize.Origin{Kind: stabilize.OriginToken})
	next.Status = stabilize.Succeeded
	next.Note().Consumed = a.Fire
}

// TestArrive plays each join until nothing more happens: firings, what the last
// of them takes in later ("absorbs"), whether it is dead, what is left over.
func TestArrive(t *testing.T) {
	for _, c := range []struct {
		name      string
		join      stabilize.JoinType
		threshold int
		before    []string
		fires     []string
		absorbs   []string
		dead      bool
		left      string
	}{
		{"and: a pair for each firing, the surplus is kept", stabilize.JoinAnd, 0,
			[]string{"b+", "b.1+", "b.2+", "c+", "c.1+"}, []string{"b c", "b.1 c.1"}, nil, false, "b.2"},
		{"and: waits for the other edge", stabilize.JoinAnd, 0, []string{"b+", "b.1+", "c?"}, nil, nil, false, "b b.1"},
		{"and: an edge that is over without a live token", stabilize.JoinAnd, 0, []string{"b+", "b.1+", "c-"}, nil, nil, true, "b b.1"},
		{"and: fires once, then one edge is over: not dead any more", stabilize.JoinAnd, 0, []string{"b+", "b.1+", "c+"}, []string{"b c"}, nil, false, "b.1"},
		{"or: all that is there, once nothing is open", stabilize.JoinOr, 0, []string{"b+", "b.1-", "c-"}, []string{"b"}, nil, false, ""},
		{"or: an edge without a token is still open", stabilize.JoinOr, 0, []string{"b+", "b.1+", "c?"}, nil, nil, false, "b b.1"},
		{"or: nothing live and nothing open", stabilize.JoinOr, 0, []string{"b-", "b.1-", "c-"}, nil, nil, true, ""},
		{"exclusive: passes each on by itself", stabilize.JoinExclusive, 0, []string{"b-", "c+"}, []string{"c"}, nil, false, ""},
		{"exclusive: dead when all are", stabilize.JoinExclusive, 0, []string{"b-", "c-"}, nil, nil, true, ""},
		{"exclusive: waits while one is open", stabilize.JoinExclusive, 0, []string{"b-", "c?"}, nil, nil, false, ""},
		{"multi-merge: once for each token", stabilize.JoinMulti, 0, []string{"b+", "c+", "d-", "e+2"}, []string{"b", "c", "e", "e.0#1"}, nil, false, ""},
		{"thread merge: as many as it says", stabilize.JoinMerge, 3, []string{"b+6"}, []string{"b b.0#1 b.0#2", "b.0#3 b.0#4 b.0#5"}, nil, false, ""},
		{"thread merge: too few", stabilize.JoinMerge, 3, []string{"b+2"}, nil, nil, false, "b b.0#1"},
		{"thread merge: none", stabilize.JoinMerge, 3, []string{"b-"}, nil, nil, true, ""},
		// Patterns 28 and 31: what comes again waits for the reset.
		{"discriminator: the second of an edge is held until all were seen", stabilize.JoinDiscriminator, 0,
			[]string{"b+", "b.1+", "c?"}, []string{"b"}, nil, false, "b.1"},
		{"discriminator: reset, and again", stabilize.JoinDiscriminator, 0,
			[]string{"b+", "b.1+", "c+", "c.1+"}, []string{"b c", "b.1 c.1"}, nil, false, ""},
		{"discriminator: a dead edge resets too", stabilize.JoinDiscriminator, 0, []string{"b+", "b.1+", "c-", "c.1-"}, []string{"b c", "b.1 c.1"}, nil, false, ""},
		{"partial: two of three", stabilize.JoinNOfM, 2, []string{"b+", "b.1+", "c+", "d?"}, []string{"b c"}, nil, false, "b.1"},
		{"partial: too few can come", stabilize.JoinNOfM, 2, []string{"b+", "b.1+", "c-", "d-"}, nil, nil, true, "b b.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := scene(c.join, c.threshold, c.before...)
			var fires, absorbs []string
			for {
				a := w.Arrive("m", false)
				if len(a.Fire)+len(a.Absorb) == 0 {
					if a.Dead != c.dead || tokens(a.Left) != c.left {
						t.Errorf("in the end dead is %t with %q left, want %t with %q", a.Dead, tokens(a.Left), c.dead, c.left)
					}
					break
				}
				if len(a.Absorb) > 0 {
					absorbs = append(absorbs, tokens(a.Absorb))
				} else {
					fires = append(fires, tokens(a.Fire))
				}
				fire(w, a)
				if len(fires)+len(absorbs) > 20 {
					t.Fatal("it never ends")
				}
			}
			if !slices.Equal(fires, c.fires) || !slices.Equal(absorbs, c.absorbs) {
				t.Errorf("fired with %q, absorbed %q; want %q, %q", fires, absorbs, c.fires, c.absorbs)
			}
		})
	}
}

// A discriminator that fired on its first branch takes in what comes on the
// others, and only then is free for the next round of tokens.
func TestArriveAbsorbsUntilItIsReset(t *testing.T) {
	w := scene(stabilize.JoinDiscriminator, 0, "b+", "b.1+", "c?", "d?")
	fire(w, w.Arrive("m", false))
	if a := w.Arrive("m", false); len(a.Fire)+len(a.Absorb) > 0 || tokens(a.Left) != "b.1" {
		t.Fatalf("before the reset: %+v", a)
	}
	end := func(ref string, kind stabilize.TokenKind) {
		s := w.StageByRef(ref)
		s.Status, s.Tokens.Kind = stabilize.Succeeded, kind
		w = fresh(w)
	}
	end("c", stabilize.TokenLive)
	a := w.Arrive("m", false)
	if tokens(a.Absorb) != "c" || len(a.Fire) > 0 {
		t.Fatalf("with c: %+v", a)
	}
	fire(w, a)
	if a := w.Arrive("m", false); len(a.Fire)+len(a.Absorb) > 0 {
		t.Fatalf("d has not ended: %+v", a)
	}
	end("d", stabilize.TokenDead)
	if a = w.Arrive("m", false); tokens(a.Absorb) != "d" {
		t.Fatalf("with d: %+v", a)
	}
	fire(w, a)
	if a = w.Arrive("m", false); tokens(a.Fire) != "b.1" {
		t.Errorf("after the reset: %+v", a)
	}
}

// When nothing moves any more, what has not ended is open no longer.
func TestArriveWhenQuiet(t *testing.T) {
	w := scene(stabilize.JoinOr, 0, "b+", "b.1+", "c?")
	if a := w.Arrive("m", false); len(a.Fire) > 0 {
		t.Errorf("c may still end: %+v", a)
	}
	if a := w.Arrive("m", true); tokens(a.Fire) != "b" {
		t.Errorf("nothing will end any more: %+v", a)
	}
	if a := w.Arrive("nowhere", true); a.Dead || len(a.Fire) > 0 {
		t.Errorf("a stage that does not exist: %+v", a)
	}
}

func TestCounted(t *testing.T) {
	plain := flow("a", "b<a", "c<b")
	threads := flow("a", "b<a", "c<b")
	threads.Stages[0].Rules = &stabilize.Rules{Threads: 3}
	superseded := flow("a", "b<a", "c<b", "a")
	superseded.Stages[3].Round, superseded.Stages[0].Superseded = 1, true
	rounds := flow("a", "b<a", "c<b", "a", "d")
	rounds.Stages[3].Round = 1
	exclusive := flow("a", "b<a")
	exclusive.Stages[1].Join = stabilize.JoinExclusive
	for _, c := range []struct {
		what string
		w    *stabilize.Workflow
		want string
	}{
		{"one execution each", plain, ""},
		{"below a thread split", threads, "b c"},
		{"a round that took the place of another", superseded, ""},
		{"two rounds that count", rounds, "a b"},
		{"an exclusive join", exclusive, "b"},
	} {
		var got []string
		for _, ref := range []string{"a", "b", "c", "d", "nowhere"} {
			if c.w.Counted(ref) {
				got = append(got, ref)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: counted are %v, want %q", c.what, got, c.want)
		}
	}
}
