package sqlstore

import (
	"database/sql"
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

// ceilMicros is the first stored instant that is not before t.
func ceilMicros(t time.Time) int64 {
	us := t.UnixMicro()
	if t.Nanosecond()%int(stabilize.Precision) != 0 {
		us++
	}
	return us
}
