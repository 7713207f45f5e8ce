//go:build unix

package mongostore_test

import (
	"os"
	"testing"

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

func TestStore(t *testing.T) {
	servers.Each(t, func(t *testing.T, server *mongotest.Server) {
		storetest.Run(t, func(t *testing.T) conformance.Harness { return newHarness(t, server) })
	})
}

func TestQueue(t *testing.T) {
	servers.Each(t, func(t *testing.T, server *mongotest.Server) {
		queuetest.Run(t, func(t *testing.T) conformance.QueueHarness { return conformance.AsQueue(newHarness(t, server)) })
	})
}

func TestControl(t *testing.T) {
	servers.Each(t, func(t *testing.T, server *mongotest.Server) {
		controltest.Run(t, func(t *testing.T) conformance.Harness { return newHarness(t, server) })
	})
}
