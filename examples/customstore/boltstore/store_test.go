package boltstore_test

import (
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance/certify"
	"github.com/stabilize-dev/go-stabilize/examples/customstore/boltstoretest"
)

// TestContract is everything that is promised of a store, in seconds.
func TestContract(t *testing.T) {
	certify.Run(t, boltstoretest.New)
}
