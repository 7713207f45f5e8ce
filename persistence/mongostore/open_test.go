package mongostore_test

import (
	"errors"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/stabilize-dev/go-stabilize/persistence/mongostore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// What cannot be used is refused before anybody is asked, and no error holds the
// password.
func TestOpenRefuses(t *testing.T) {
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://localhost:1"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Disconnect(t.Context()) }()
	const uri = "mongodb://me:secret@localhost:1/work"
	for name, cfg := range map[string]mongostore.Config{
		"nothing":               {},
		"two":                   {URI: uri, Client: client},
		"no scheme":             {URI: "localhost:secret"},
		"another scheme":        {URI: "postgres://me:secret@localhost/work"},
		"no host":               {URI: "mongodb://me:secret@/work"},
		"an option":             {URI: uri + "?w=secret&journal=secret"},
		"no database":           {URI: "mongodb://me:secret@localhost:1"},
		"no database of client": {Client: client},
		"a hostile database":    {URI: uri, Database: "a.b"},
		"a dollar":              {URI: uri, Database: "$cmd"},
		"a NUL":                 {URI: uri, Database: "a\x00b"},
		"a slash":               {URI: uri, Database: "../a"},
		"the server's database": {URI: uri, Database: "admin"},
		"a long database":       {URI: uri, Database: strings.Repeat("a", 64)},
		"a hostile prefix":      {URI: uri, Prefix: "a.b"},
		"system":                {URI: uri, Prefix: "system"},
		"a capital":             {URI: uri, Prefix: "A"},
		"a digit":               {URI: uri, Prefix: "1"},
		"a long prefix":         {URI: uri, Prefix: strings.Repeat("a", 33)},
		"a large payload":       {URI: uri, MaxPayload: 1 << 40},
		"a concern":             {URI: uri, Concern: 7},
		"a negative patience":   {URI: uri, Patience: -1},
		"a negative timeout":    {URI: uri, CallTimeout: -1},
		"a large inline":        {URI: uri, Inline: 1 << 30},
	} {
		s, err := mongostore.Open(t.Context(), cfg)
		if !errors.Is(err, stabilize.ErrInvalid) || s != nil {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error repeats the password: %v", name, err)
		}
	}
}
