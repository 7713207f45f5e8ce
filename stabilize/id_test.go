package stabilize_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

type seeded struct{ *rand.ChaCha8 }

func entropy(seed byte) io.Reader { return seeded{rand.NewChaCha8([32]byte{seed})} }

// Ids grow however the clock moves.
func TestIDsGrow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clock := stabilize.NewManualClock(noon())
		ids := stabilize.NewIDs(clock, entropy(rapid.Byte().Draw(t, "seed")))
		last := ""
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			clock.Advance(time.Duration(rapid.Int64Range(-int64(time.Hour), int64(time.Hour)).Draw(t, "step")))
			for range rapid.IntRange(1, 5).Draw(t, "ids") {
				id := ids.New()
				if id <= last || len(id) != 26 {
					t.Fatalf("%q came after %q", id, last)
				}
				last = id
			}
		}
	})
}

func TestIDsInExtremes(t *testing.T) {
	full := func() io.Reader { return bytes.NewReader(bytes.Repeat([]byte{0xff}, 1000)) }
	for name, at := range map[string]time.Time{
		"1970": time.Unix(0, 0), "before 1970": time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC), "9999": time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC),
	} {
		ids := stabilize.NewIDs(stabilize.NewManualClock(at), full())
		first, second := ids.New(), ids.New()
		parsed, err := ulid.ParseStrict(second)
		if err != nil || second <= first {
			t.Errorf("%s: %q, then %q (%v)", name, first, second, err)
		}
		if want := max(at.UnixMilli(), 0); int64(parsed.Time()) != want {
			t.Errorf("%s: the id says %d, want %d", name, parsed.Time(), want)
		}
	}
	same := stabilize.NewManualClock(noon())
	if a, b := stabilize.NewIDs(same, entropy(7)).New(), stabilize.NewIDs(same, entropy(7)).New(); a != b {
		t.Errorf("the same seed gives %q and %q", a, b)
	}
	if a, b := stabilize.NewIDs(same, nil).New(), stabilize.NewIDs(same, nil).New(); a == b {
		t.Errorf("two generators give %q", a)
	}
}

func TestIDsConcurrently(t *testing.T) {
	ids := stabilize.NewIDs(stabilize.NewManualClock(noon()), nil)
	var wg sync.WaitGroup
	got := make([][]string, 8)
	for i := range got {
		wg.Go(func() {
			for range 500 {
				got[i] = append(got[i], ids.New())
			}
		})
	}
	wg.Wait()
	all := map[string]bool{}
	for _, list := range got {
		for i, id := range list {
			if all[id] || i > 0 && id <= list[i-1] {
				t.Fatalf("%q came twice or late", id)
			}
			all[id] = true
		}
	}
}

func TestCheckID(t *testing.T) {
	for _, good := range []string{
		"a", "A", " ", "a ", "'; DROP TABLE x; --", "%", "_", "$where", `{"$gt":""}`, "../", `\`, "\t", "é", "e\u0301", "👩", "\x7f",
		strings.Repeat("x", 512), strings.Repeat("é", 256),
	} {
		if err := stabilize.CheckID("field", good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "\x00", "a\x00b", "a\n", "a\r", "\xff", "a\xc3", strings.Repeat("x", 513), strings.Repeat("é", 257)} {
		err := stabilize.CheckID("the field", bad)
		if e, ok := errors.AsType[*stabilize.InvalidError](err); !ok || e.Field != "the field" || !errors.Is(err, stabilize.ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
		if err != nil && len(err.Error()) > 600 {
			t.Errorf("the error is %d bytes long", len(err.Error()))
		}
	}
}

func FuzzCheckID(f *testing.F) {
	f.Add("a")
	f.Add("\r\n\x00\xff")
	f.Fuzz(func(t *testing.T, id string) {
		bad := id == "" || len(id) > 512 || !utf8.ValidString(id) || strings.Contains(id, "\x00") || strings.Contains(id, "\n") || strings.Contains(id, "\r")
		if err := stabilize.CheckID("id", id); (err != nil) != bad {
			t.Fatalf("%q: %v", id, err)
		}
	})
}

func TestInstant(t *testing.T) {
	zone := time.FixedZone("x", -5*3600)
	at := time.Date(2025, 1, 2, 3, 4, 5, 123456789, zone)
	if got, want := stabilize.Instant(at), time.Date(2025, 1, 2, 8, 4, 5, 123456000, time.UTC); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := stabilize.Instant(time.Time{}.In(zone)); got != (time.Time{}) {
		t.Errorf("the zero time became %#v", got)
	}
	early := time.Date(1969, 12, 31, 23, 59, 59, 999_999_999, time.UTC)
	if got := stabilize.Instant(early); got != early.Truncate(time.Microsecond) || got.After(early) {
		t.Errorf("before 1970: %v became %v", early, got)
	}
	if now := (stabilize.SystemClock{}).Now(); now != stabilize.Instant(now) {
		t.Errorf("the system clock says %#v", now)
	}
}

func TestManualClock(t *testing.T) {
	clock := stabilize.NewManualClock(noon())
	fired := func(c <-chan time.Time) bool {
		select {
		case at := <-c:
			if at != clock.Now() {
				t.Errorf("it fired with %v at %v", at, clock.Now())
			}
			return true
		default:
			return false
		}
	}
	late, stopLate := clock.Timer(time.Minute)
	early, stopEarly := clock.Timer(time.Second)
	stopped, stop := clock.Timer(time.Second)
	defer stopLate()
	defer stopEarly()
	stop()
	if got := clock.NextTimer(); got != noon().Add(time.Second) {
		t.Errorf("the next timer is at %v", got)
	}
	clock.Advance(-time.Hour)
	clock.Advance(time.Hour + time.Second - stabilize.Precision)
	if fired(early) {
		t.Error("a timer fired before its time")
	}
	clock.Advance(stabilize.Precision)
	if !fired(early) || fired(late) || fired(stopped) {
		t.Error("after a second one timer of three should have fired")
	}
	clock.Set(noon().Add(time.Hour))
	if !fired(late) || fired(late) || !clock.NextTimer().IsZero() {
		t.Error("the last timer should have fired once")
	}
	now, release := clock.Timer(-1)
	defer release()
	if !fired(now) {
		t.Error("a timer of no time should have fired")
	}
}
