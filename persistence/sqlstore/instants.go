package sqlstore

import (
	"database/sql"
	"math"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// micros is the stored form of an instant that is present.
func micros(t time.Time) int64 { return stabilize.Instant(t).UnixMicro() }

// maybeMicros is NULL for an absent instant.
func maybeMicros(t time.Time) sql.NullInt64 {
	if t.IsZero() {
		return sql.NullInt64{}
	}
	return sql.NullInt64{Int64: micros(t), Valid: true}
}

func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }

// notStarted sorts before every start: newest first.
const notStarted = math.MaxInt64

func sortAt(h *stabilize.Header) int64 {
	if h.StartedAt.IsZero() {
		return notStarted
	}
	return micros(h.StartedAt)
}

// tidyHeader returns h with its times in their stored form: h itself, or a copy
// if that changes any.
func tidyHeader(h *stabilize.Header) *stabilize.Header {
	if tidy(h.Instants) {
		return h
	}
	c := h.Clone()
	c.Instants(setInstant)
	return c
}

func tidyStage(s *stabilize.Stage) *stabilize.Stage {
	if tidy(s.Instants) {
		return s
	}
	c := s.Clone()
	c.Instants(setInstant)
	return c
}

func tidy(each func(func(*time.Time))) bool {
	ok := true
	each(func(t *time.Time) {
		ok = ok && t.Location() == time.UTC && t.Nanosecond()%int(stabilize.Precision) == 0
	})
	return ok
}

func setInstant(t *time.Time) { *t = stabilize.Instant(*t) }

// ceilMicros is the first stored instant that is not before t.
func ceilMicros(t time.Time) int64 {
	us := t.UnixMicro()
	if t.Nanosecond()%int(stabilize.Precision) != 0 {
		us++
	}
	return us
}
