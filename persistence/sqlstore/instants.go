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
	times := func(h *stabilize.Header) []*time.Time {
		all := []*time.Time{&h.CreatedAt, &h.StartedAt, &h.EndedAt, &h.StartExpiry}
		if h.Cancel != nil {
			all = append(all, &h.Cancel.At)
		}
		if h.Pause != nil {
			all = append(all, &h.Pause.At, &h.Pause.ResumedAt)
		}
		return all
	}
	if tidy(times(h)) {
		return h
	}
	c := h.Clone()
	setInstants(times(c))
	return c
}

func tidyStage(s *stabilize.Stage) *stabilize.Stage {
	times := func(s *stabilize.Stage) []*time.Time {
		all := make([]*time.Time, 0, 3+2*len(s.Tasks))
		all = append(all, &s.StartedAt, &s.EndedAt, &s.StartExpiry)
		for _, t := range s.Tasks {
			all = append(all, &t.StartedAt, &t.EndedAt)
		}
		return all
	}
	if tidy(times(s)) {
		return s
	}
	c := s.Clone()
	setInstants(times(c))
	return c
}

func tidy(times []*time.Time) bool {
	for _, t := range times {
		if t.Location() != time.UTC || t.Nanosecond()%int(stabilize.Precision) != 0 {
			return false
		}
	}
	return true
}

func setInstants(times []*time.Time) {
	for _, t := range times {
		*t = stabilize.Instant(*t)
	}
}

// ceilMicros is the first stored instant that is not before t.
func ceilMicros(t time.Time) int64 {
	us := t.UnixMicro()
	if t.Nanosecond()%int(stabilize.Precision) != 0 {
		us++
	}
	return us
}
