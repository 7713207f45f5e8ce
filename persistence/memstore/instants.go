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
	ok := true
	h.Instants(func(t *time.Time) { ok = instant(t) && ok })
	if !ok {
		return badInstant("workflow")
	}
	return nil
}

func tidyStage(s *stabilize.Stage) error {
	ok := true
	s.Instants(func(t *time.Time) { ok = instant(t) && ok })
	if !ok {
		return badInstant(fmt.Sprintf("stage %q", s.Ref))
	}
	return nil
}
