package main

import (
	"flag"
	"os"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/certify"
	"github.com/stabilize-dev/go-stabilize/persistence"
)

func main() { run(openBackend) }

// childDSN is where the processes that a clause starts, of this very program,
// find the data source name.
const childDSN = "CERTIFY_DSN"

// run is the program; it does not return.
func run(open func(dsn string) (*backend, error)) {
	program := certify.Flags()
	dsn := flag.String("dsn", os.Getenv(childDSN), "the data `source name`: memory:, sqlite://PATH, of which a folder beside PATH is used, postgres:// of which schemas of its own, or mongodb:// of which databases of its own")
	flag.Parse()
	if *dsn == "" {
		flag.Usage()
		os.Exit(2)
	}
	b, err := open(*dsn)
	if err == nil {
		err = os.Setenv(childDSN, *dsn)
	}
	if err != nil {
		certify.Fail(err)
	}
	program.Main(b.name, b.prepare, conformance.Command("go run ./conformance/cmd/certify -dsn DSN -run"))
}

// Open implements patterns.Opener.
func (h *handles) Open() persistence.Store {
	s, err := h.open()
	if err != nil {
		panic(err) // the pattern fails and says so
	}
	return s
}
