package memstore

import (
	"fmt"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// The years 0 to 9999 in seconds: what RFC 3339, the stored form elsewhere, can say.
const firstSecond, lastSecond = -62167219200, 253402300799

// instant brings a time to its stored form, see stabilize.Instant.
func instant(t *time.Time) bool {
	if t.IsZero() {
		*t = time.Time{}
		return true
	}
	*t = stabilize.Instant(*t)
	sec := t.Unix()
	return sec >= firstSecond && sec <= lastSecond
}

func badInstant(field string) error {
	return stabilize.Invalid(field, "holds a time outside the years 0 to 9999")
}

// tidyHeader brings the times of a clone to their stored form.
func tidyHeader(h *stabilize.Header) error {
	ok := instant(&h.CreatedAt)
	ok = instant(&h.StartedAt) && ok
	ok = instant(&h.EndedAt) && ok
	ok = instant(&h.StartExpiry) && ok
	if h.Cancel != nil {
		ok = instant(&h.Cancel.At) && ok
	}
	if h.Pause != nil {
		ok = instant(&h.Pause.At) && ok
		ok = instant(&h.Pause.ResumedAt) && ok
	}
	if !ok {
		return badInstant("workflow")
	}
	return nil
}

func tidyStage(s *stabilize.Stage) error {
	ok := instant(&s.StartedAt)
	ok = instant(&s.EndedAt) && ok
	ok = instant(&s.StartExpiry) && ok
	for _, t := range s.Tasks {
		ok = instant(&t.StartedAt) && ok
		ok = instant(&t.EndedAt) && ok
	}
	if !ok {
		return badInstant(fmt.Sprintf("stage %q", s.Ref))
	}
	return nil
}
