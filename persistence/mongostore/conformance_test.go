//go:build unix

package mongostore_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/conformance/controltest"
	"github.com/stabilize-dev/go-stabilize/conformance/difftest"
	"github.com/stabilize-dev/go-stabilize/conformance/eventtest"
	"github.com/stabilize-dev/go-stabilize/conformance/patterns"
	"github.com/stabilize-dev/go-stabilize/conformance/queuetest"
	"github.com/stabilize-dev/go-stabilize/conformance/storetest"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest"
)

var servers mongotest.Servers

// TestMain makes the test binary a worker process when it is started as one.
func TestMain(m *testing.M) {
	if text := os.Getenv(jobVariable); text != "" {
		if err := work(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	servers.Stop()
	os.Exit(code)
}

// patience: FerretDB 1 does one thing at a time, and slowly.
func patience() conformance.Option { return conformance.Within(15 * time.Minute) }

// effort is short, unless STABILIZE_TEST_FULL is set.
func effort() conformance.Option {
	if os.Getenv("STABILIZE_TEST_FULL") != "" {
		return conformance.At(conformance.Full)
	}
	return conformance.At(conformance.Short)
}

func TestStore(t *testing.T) {
	servers.Each(t, func(t *testing.T, server *mongotest.Server) {
		storetest.Run(t, func(t *testing.T) conformance.Harness { return newHarness(t, server) }, patience(), effort())
	})
}

func TestEvents(t *testing.T) {
	servers.Each(t, func(t *testing.T, server *mongotest.Server) {
		eventtest.Run(t, func(t *testing.T) conformance.Harness { return newHarness(t, server) }, patience(), effort())
	})
}

func TestQueue(t *testing.T) {
	servers.Each(t, func(t *testing.T, server *mongotest.Server) {
		queuetest.Run(t, func(t *testing.T) conformance.QueueHarness { return conformance.AsQueue(newHarness(t, server)) }, patience(), effort())
	})
}

func TestControl(t *testing.T) {
	servers.Each(t, func(t *testing.T, server *mongotest.Server) {
		controltest.Run(t, func(t *testing.T) conformance.Harness { return newHarness(t, server) }, patience(), effort())
	})
}

func TestDifferential(t *testing.T) {
	servers.Each(t, func(t *testing.T, server *mongotest.Server) {
		difftest.Run(t, func(t *testing.T) conformance.Harness { return newHarness(t, server) }, patience(), effort())
	})
}

// TestPatterns has a scenario of each, unless STABILIZE_TEST_FULL is set. FerretDB 1
// does not get through the largest.
func TestPatterns(t *testing.T) {
	servers.Each(t, func(t *testing.T, server *mongotest.Server) {
		depth := patterns.Sample
		if os.Getenv("STABILIZE_TEST_FULL") != "" {
			depth = patterns.Normal
		}
		patterns.Run(t, func(t *testing.T) conformance.Harness { return newHarness(t, server) }, patterns.WithDepth(depth), patterns.RealTime(), patience(), effort())
	})
}
