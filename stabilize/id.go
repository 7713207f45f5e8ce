package stabilize

import (
	"crypto/rand"
	"io"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"
)

// MaxIDLength is the longest identifier in bytes.
const MaxIDLength = 512

// IDs makes ULIDs that grow strictly, also within a millisecond and also when
// the clock steps back. No code may derive order from an id all the same:
// order is a position. Safe for concurrent use.
type IDs struct {
	mu      sync.Mutex
	clock   Clock
	entropy io.Reader
	last    ulid.ULID
}

// NewIDs makes a generator on a clock. A nil entropy means the system's
// cryptographic source; a test passes a seeded one.
func NewIDs(clock Clock, entropy io.Reader) *IDs {
	if entropy == nil {
		entropy = &bufferedRand{}
	}
	return &IDs{clock: clock, entropy: entropy}
}

// New returns the next id, 26 characters.
func (g *IDs) New() string {
	ms := ulid.Timestamp(clampULID(g.clock.Now()))
	g.mu.Lock()
	defer g.mu.Unlock()
	if ms <= g.last.Time() && increment(&g.last) {
		return g.last.String()
	}
	var id ulid.ULID
	if err := id.SetTime(max(ms, g.last.Time())); err != nil {
		panic(err) // unreachable: clampULID keeps the time in range
	}
	if _, err := io.ReadFull(g.entropy, id[6:]); err != nil {
		panic("stabilize: no entropy for ids: " + err.Error())
	}
	id[6] &= 0x7f // room to count up within the millisecond
	g.last = id
	return id.String()
}

func clampULID(t time.Time) time.Time {
	if t.Before(time.Unix(0, 0)) {
		return time.Unix(0, 0)
	}
	return t
}

// increment adds one to the random part; false when it overflowed.
func increment(id *ulid.ULID) bool {
	for i := len(id) - 1; i >= 6; i-- {
		id[i]++
		if id[i] != 0 {
			return true
		}
	}
	return false
}

// bufferedRand reads the system's source in blocks: one system call for many ids.
type bufferedRand struct {
	buf  [640]byte
	left []byte
}

func (b *bufferedRand) Read(p []byte) (int, error) {
	if len(b.left) == 0 {
		if _, err := rand.Read(b.buf[:]); err != nil {
			return 0, err
		}
		b.left = b.buf[:]
	}
	n := copy(p, b.left)
	b.left = b.left[n:]
	return n, nil
}

// CheckID returns ErrInvalid, naming the field, unless id is 1 to MaxIDLength
// bytes of UTF-8 without NUL and line breaks. Anything else is allowed and
// compared byte by byte: case, trailing space and normal form all count.
func CheckID(field, id string) error {
	switch {
	case id == "":
		return Invalid(field, "is empty")
	case len(id) > MaxIDLength:
		return Invalid(field, "is %d bytes long, the maximum is %d", len(id), MaxIDLength)
	}
	ascii := true
	for i := range len(id) {
		switch c := id[i]; {
		case c == 0 || c == '\n' || c == '\r':
			return Invalid(field, "%q holds a NUL or a line break", id)
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	if !ascii && !utf8.ValidString(id) {
		return Invalid(field, "%q is not valid UTF-8", id)
	}
	return nil
}

// CheckText returns ErrInvalid, naming the field, unless s is valid UTF-8.
func CheckText(field, s string) error {
	if !utf8.ValidString(s) {
		return Invalid(field, "is not valid UTF-8")
	}
	return nil
}

// CheckSize returns ErrTooLarge, with both numbers, if a stored payload is longer
// than max bytes; 0 or less is no limit.
func CheckSize(what string, payload []byte, max int64) error {
	if size := int64(len(payload)); max > 0 && size > max {
		return &TooLargeError{What: what, Size: size, Max: max}
	}
	return nil
}
