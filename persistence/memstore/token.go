package memstore

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// A page token is the place of the last workflow of a page and a sum over it
// and the query, in base64. The sum tells a token that was cut, changed, or
// given for another query. It is no secret: a token opens nothing that the
// query would not.
var tokenText = base64.RawURLEncoding.Strict()

const sumLength = 12

// tokenSum covers what selects and orders; the page size may change on the way.
func tokenSum(q persistence.Query, body []byte) []byte {
	statuses := slices.Clone(q.Statuses)
	slices.Sort(statuses)
	text, err := json.Marshal([]any{
		"memstore page", q.Application, q.ConfigID, slices.Compact(statuses),
		sumTime(q.StartedFrom), sumTime(q.StartedBefore), body,
	})
	if err != nil {
		panic(err) // unreachable: text, numbers and valid statuses
	}
	sum := sha256.Sum256(text)
	return sum[:sumLength]
}

func sumTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func formatToken(q persistence.Query, last place) string {
	body, err := json.Marshal(last)
	if err != nil {
		panic(err) // unreachable: a number, a flag and text
	}
	return tokenText.EncodeToString(append(tokenSum(q, body), body...))
}

func parseToken(q persistence.Query) (place, error) {
	var last place
	raw, err := tokenText.DecodeString(q.Token)
	if err != nil || len(raw) < sumLength || string(tokenSum(q, raw[sumLength:])) != string(raw[:sumLength]) {
		return last, stabilize.Invalid("page token", "is damaged or not of this query")
	}
	if err := json.Unmarshal(raw[sumLength:], &last); err != nil {
		return last, stabilize.Invalid("page token", "is damaged or not of this query")
	}
	return last, nil
}
