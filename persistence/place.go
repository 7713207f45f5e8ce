package persistence

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// DefaultLimit is the size of a page where the query does not say.
const DefaultLimit = 100

// Place is where a workflow stands in the order of a query: the greatest comes
// first, by Start, then by ID, byte by byte.
type Place struct {
	Start int64  `json:"s"` // microseconds since 1970, or NotStarted
	ID    string `json:"i"`
}

// NotStarted is the Start of a workflow without a start: before every start.
const NotStarted = math.MaxInt64

// PlaceOf returns where a header stands.
func PlaceOf(h *stabilize.Header) Place {
	if h.StartedAt.IsZero() {
		return Place{Start: NotStarted, ID: h.ID}
	}
	return Place{Start: stabilize.Instant(h.StartedAt).UnixMicro(), ID: h.ID}
}

// Compare is negative if p comes before o in a listing, positive if after.
func (p Place) Compare(o Place) int {
	return cmp.Or(cmp.Compare(o.Start, p.Start), strings.Compare(o.ID, p.ID))
}

// Check refuses what cannot be asked, brings the rest to one form and reads the
// token: Limit is set, Statuses are sorted, each once, and none if it would be
// all. after is the place behind which the page begins, nil for the first page.
// Every store calls it before any I/O. ErrInvalid.
func (q *Query) Check() (after *Place, err error) {
	if err := stabilize.CheckText("query application", q.Application); err != nil {
		return nil, err
	}
	if err := stabilize.CheckText("query config id", q.ConfigID); err != nil {
		return nil, err
	}
	for _, status := range q.Statuses {
		if !status.Valid() {
			return nil, stabilize.Invalid("query status", "%s is not one", status)
		}
	}
	switch {
	case q.Limit < 0:
		return nil, stabilize.Invalid("query limit", "%d is negative", q.Limit)
	case q.Limit == 0:
		q.Limit = DefaultLimit
	}
	if !q.StartedFrom.IsZero() && !q.StartedBefore.IsZero() && q.StartedFrom.After(q.StartedBefore) {
		return nil, stabilize.Invalid("query started from", "%s is after started before, %s", q.StartedFrom, q.StartedBefore)
	}
	statuses := slices.Clone(q.Statuses) // the caller's own stays as it is
	slices.Sort(statuses)
	if q.Statuses = slices.Compact(statuses); len(q.Statuses) == len(stabilize.Statuses()) {
		q.Statuses = nil
	}
	if q.Token == "" {
		return nil, nil
	}
	return q.parseToken()
}

// Selects reports whether a checked query selects a header, its page apart.
func (q *Query) Selects(h *stabilize.Header) bool {
	switch {
	case q.Application != "" && h.Application != q.Application,
		q.ConfigID != "" && h.ConfigID != q.ConfigID,
		len(q.Statuses) > 0 && !slices.Contains(q.Statuses, h.Status):
		return false
	case q.StartedFrom.IsZero() && q.StartedBefore.IsZero():
		return true
	case h.StartedAt.IsZero():
		return false
	}
	return !h.StartedAt.Before(q.StartedFrom) && (q.StartedBefore.IsZero() || h.StartedAt.Before(q.StartedBefore))
}

// A page token is a place and a sum over it and the query, in base64. The sum
// tells a token that was cut, changed, or given for another query. It is no
// secret: a token opens nothing that the query would not.
const sumLength = 12

// MakeToken returns the token of the page behind a place, which is the last of
// this page, for a checked query.
func (q *Query) MakeToken(last Place) string {
	body, err := json.Marshal(last)
	if err != nil {
		panic(err) // unreachable: a number and text
	}
	return base64.RawURLEncoding.EncodeToString(append(q.sum(body), body...))
}

func (q *Query) parseToken() (*Place, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(q.Token)
	var last Place
	if err == nil && len(raw) > sumLength && string(q.sum(raw[sumLength:])) == string(raw[:sumLength]) &&
		json.Unmarshal(raw[sumLength:], &last) == nil {
		return &last, nil
	}
	return nil, stabilize.Invalid("page token", "is damaged or not of this query")
}

// sum covers what selects and orders; the page size may change on the way.
func (q *Query) sum(body []byte) []byte {
	bound := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339Nano)
	}
	text, err := json.Marshal([]any{q.Application, q.ConfigID, q.Statuses, bound(q.StartedFrom), bound(q.StartedBefore), body})
	if err != nil {
		panic(err) // unreachable: text, numbers and valid statuses
	}
	sum := sha256.Sum256(text)
	return sum[:sumLength]
}
