//go:build unix

package mongostore_test

import (
	"os"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/controltest"
	"github.com/stabilize-dev/go-stabilize/conformance/queuetest"
	"github.com/stabilize-dev/go-stabilize/conformance/storetest"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest"
)

var servers mongotest.Servers

func TestMain(m *testing.M) {
	code := m.Run()
	servers.Stop()
	os.Exit(code)
}

// patience: FerretDB 1 does one thing at a time, and slowly.
func patience() conformance.Option { return conformance.Within(15 * time.Minute) }

func TestStore(t *testing.T) {
	servers.Each(t, func(t *testing.T, server *mongotest.Server) {
		storetest.Run(t, func(t *testing.T) conformance.Harness { return newHarness(t, server) }, patience())
	})
}

func TestQueue(t *testing.T) {
	servers.Each(t, func(t *testing.T, server *mongotest.Server) {
		queuetest.Run(t, func(t *testing.T) conformance.QueueHarness { return conformance.AsQueue(newHarness(t, server)) }, patience())
	})
}

func TestControl(t *testing.T) {
	servers.Each(t, func(t *testing.T, server *mongotest.Server) {
		controltest.Run(t, func(t *testing.T) conformance.Harness { return newHarness(t, server) }, patience())
	})
}
