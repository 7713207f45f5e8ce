package mongostore

import (
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// A message's token is stored in one of two forms. One that came with a message is
// stored as it is, behind a mark. Those of a claim have one part for all that the
// claim takes, which is what is stored, and the message's id.
const (
	markGiven = "="
	markClaim = "+"
)

func storedGiven(token string) string { return markGiven + token }

func storedClaim(token string) string { return markClaim + token }

// claimed is the token of a message that a claim took.
func claimed(token, id string) string { return token + "." + id }

// told is the token of a message by its stored form.
func told(stored, id string) string {
	if token, ok := strings.CutPrefix(stored, markClaim); ok {
		return claimed(token, id)
	}
	return strings.TrimPrefix(stored, markGiven)
}

// stored lists the forms in which a token may be stored.
func stored(token, id string) bson.A {
	forms := bson.A{storedGiven(token)}
	if shared, ok := strings.CutSuffix(token, "."+id); ok {
		forms = append(forms, storedClaim(shared))
	}
	return forms
}
