package stabilize_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// The twelve statuses, in the order of the tables below.
var statusNames = strings.Fields(`NOT_STARTED RUNNING PAUSED SUSPENDED SUCCEEDED FAILED_CONTINUE
	TERMINAL CANCELED REDIRECT STOPPED SKIPPED BUFFERED`)

// TestTransitionTable: each row is from, each column to. r: the reference's
// table (0.20.0), +: an addition of ours (decision 0005), =: staying, .: refused.
func TestTransitionTable(t *testing.T) {
	table := `
                 NS RU PA SU OK FC TE CA RE ST SK BU
NOT_STARTED      =  r  .  .  .  .  r  r  .  .  r  r
RUNNING          .  =  r  r  r  r  r  r  r  r  r  .
PAUSED           .  r  =  .  .  .  +  r  .  r  .  .
SUSPENDED        .  r  .  =  .  .  +  r  .  r  .  .
SUCCEEDED        .  .  .  .  =  .  .  .  .  .  .  .
FAILED_CONTINUE  .  .  .  .  .  =  .  .  .  .  .  .
TERMINAL         .  .  .  .  .  .  =  .  .  .  .  .
CANCELED         .  .  .  .  .  .  .  =  .  .  .  .
REDIRECT         .  r  .  .  r  .  +  r  =  .  .  .
STOPPED          .  .  .  .  .  .  .  .  .  =  .  .
SKIPPED          .  .  .  .  .  .  .  .  .  .  =  .
BUFFERED         r  r  .  .  .  .  +  r  .  .  r  =`
	pairs := 0
	for _, line := range strings.Split(strings.TrimSpace(table), "\n")[1:] {
		cells := strings.Fields(line)
		from := parse(t, cells[0])
		for i, cell := range cells[1:] {
			to := parse(t, statusNames[i])
			pairs++
			if got, want := from.CanTransition(to), cell != "."; got != want {
				t.Errorf("%s may become %s: %t, want %t", from, to, got, want)
			}
		}
	}
	if pairs != 144 {
		t.Errorf("%d pairs are tabled", pairs)
	}
	for _, s := range stabilize.Statuses() {
		none := stabilize.Status(12)
		if s.CanTransition(none) || none.CanTransition(s) || none.CanTransition(none) {
			t.Errorf("what is no status may be moved to or from %s", s)
		}
	}
}

func parse(t *testing.T, name string) stabilize.Status {
	t.Helper()
	s, err := stabilize.ParseStatus(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStatusPredicates(t *testing.T) {
	table := map[string]string{ // complete, halt, successful, failure, active
		"NOT_STARTED":     "     ",
		"RUNNING":         "    a",
		"PAUSED":          "    a",
		"SUSPENDED":       "    a",
		"SUCCEEDED":       "c s  ",
		"FAILED_CONTINUE": "c  f ",
		"TERMINAL":        "ch f ",
		"CANCELED":        "ch   ",
		"REDIRECT":        "    a",
		"STOPPED":         "ch f ",
		"SKIPPED":         "c s  ",
		"BUFFERED":        "     ",
	}
	for name, marks := range table {
		s := parse(t, name)
		for i, p := range []struct {
			name string
			got  bool
		}{
			{"complete", s.IsComplete()},
			{"halt", s.IsHalt()},
			{"successful", s.IsSuccessful()},
			{"failure", s.IsFailure()},
			{"active", s.IsActive()},
		} {
			if want := marks[i] != ' '; p.got != want {
				t.Errorf("%s is %s: %t, want %t", name, p.name, p.got, want)
			}
		}
	}
	if len(table) != len(stabilize.Statuses()) {
		t.Errorf("%d statuses, %d tabled", len(stabilize.Statuses()), len(table))
	}
}

func TestStatusNames(t *testing.T) {
	all := stabilize.Statuses()
	if len(all) != 12 || all[0] != 0 {
		t.Fatalf("Statuses gives %v", all)
	}
	for i, s := range all {
		text, err := json.Marshal(s)
		if err != nil || s.String() != statusNames[i] || string(text) != `"`+statusNames[i]+`"` {
			t.Errorf("status %d is named %q, stored as %s, want %s (%v)", i, s, text, statusNames[i], err)
		}
		var back stabilize.Status
		if err := json.Unmarshal(text, &back); err != nil || back != s {
			t.Errorf("%s comes back as %s (%v)", text, back, err)
		}
	}
	for _, bad := range []string{"", "running", "RUNNING ", "UNKNOWN"} {
		back := stabilize.Running
		if err := back.UnmarshalText([]byte(bad)); !errors.Is(err, stabilize.ErrInvalid) || back != stabilize.Running {
			t.Errorf("the name %q gives %s and %v", bad, back, err)
		}
	}
	none := stabilize.Status(12)
	if _, err := none.MarshalText(); !errors.Is(err, stabilize.ErrInvalid) || none.Valid() || none.String() != "Status(12)" {
		t.Errorf("what is no status is %s, stored with %v", none, err)
	}
}

// The other enums are stored by name; an unknown one is never a zero value.
func TestEnumNames(t *testing.T) {
	type enum interface {
		String() string
		Valid() bool
		MarshalText() ([]byte, error)
	}
	check := func(name string, want []string, make func(uint8) enum, parse func([]byte) (enum, error)) {
		t.Run(name, func(t *testing.T) {
			for i, text := range want {
				e := make(uint8(i))
				stored, err := e.MarshalText()
				if err != nil || string(stored) != text || e.String() != text || !e.Valid() {
					t.Errorf("%d is stored as %q (%v), want %q", i, stored, err, text)
				}
				if back, err := parse([]byte(text)); err != nil || back != e {
					t.Errorf("%q comes back as %v (%v)", text, back, err)
				}
			}
			none := make(uint8(len(want)))
			if _, err := none.MarshalText(); !errors.Is(err, stabilize.ErrInvalid) || none.Valid() {
				t.Errorf("%s can be stored (%v)", none, err)
			}
			if back, err := parse([]byte("SURPRISE")); !errors.Is(err, stabilize.ErrInvalid) {
				t.Errorf("an unknown name gives %v (%v)", back, err)
			}
		})
	}
	check("JoinType", []string{"AND", "OR", "DISCRIMINATOR", "N_OF_M", "EXCLUSIVE", "MULTI", "MERGE"},
		func(i uint8) enum { return stabilize.JoinType(i) },
		func(b []byte) (enum, error) { var e stabilize.JoinType; err := e.UnmarshalText(b); return e, err })
	check("SplitType", []string{"AND", "OR", "EXCLUSIVE"},
		func(i uint8) enum { return stabilize.SplitType(i) },
		func(b []byte) (enum, error) { var e stabilize.SplitType; err := e.UnmarshalText(b); return e, err })
	check("OnFailure", []string{"FAIL_WORKFLOW", "CONTINUE", "STOP_BRANCH", "FAIL_AFTER_OTHERS", "TOLERATE"},
		func(i uint8) enum { return stabilize.OnFailure(i) },
		func(b []byte) (enum, error) { var e stabilize.OnFailure; err := e.UnmarshalText(b); return e, err })
	check("Owner", []string{"", "STAGE_BEFORE", "STAGE_AFTER", "STAGE_ON_FAILURE", "STAGE_INSTANCE"},
		func(i uint8) enum { return stabilize.Owner(i) },
		func(b []byte) (enum, error) { var e stabilize.Owner; err := e.UnmarshalText(b); return e, err })
	check("RunPhase", []string{"EXECUTE", "CANCEL", "TIMEOUT", "CLEANUP"},
		func(i uint8) enum { return stabilize.RunPhase(i) },
		func(b []byte) (enum, error) { var e stabilize.RunPhase; err := e.UnmarshalText(b); return e, err })
	check("TokenKind", []string{"NONE", "LIVE", "DEAD"},
		func(i uint8) enum { return stabilize.TokenKind(i) },
		func(b []byte) (enum, error) { var e stabilize.TokenKind; err := e.UnmarshalText(b); return e, err })
}
