package persistence_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func TestGateRefusesAfterClose(t *testing.T) {
	g := persistence.NewGate("test")
	if err := g.Check(t.Context()); err != nil || g.Closed() {
		t.Fatalf("an open gate refuses: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Check(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context passes: %v", err)
	}
	if _, _, err := g.Enter(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context enters: %v", err)
	}
	broken := errors.New("broken")
	if err := g.Close(func() error { return broken }); !errors.Is(err, broken) {
		t.Errorf("the error of release is lost: %v", err)
	}
	if err := g.Close(func() error { t.Error("released twice"); return broken }); err != nil {
		t.Errorf("closing twice is an error: %v", err)
	}
	if err := g.Check(ended); !errors.Is(err, stabilize.ErrClosed) {
		t.Errorf("a closed gate answers %v", err)
	}
	if _, _, err := g.Enter(t.Context()); !errors.Is(err, stabilize.ErrClosed) || !g.Closed() {
		t.Errorf("a closed gate answers %v", err)
	}
}

func TestGateWaitsForTheCallsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := persistence.NewGate("test")
		inner, leave, err := g.Enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		released, again := false, false
		go func() { _ = g.Close(func() error { released = true; return nil }) }()
		synctest.Wait()
		go func() { _ = g.Close(nil); again = true }()
		synctest.Wait()
		if inner.Err() == nil {
			t.Error("the call under way is not told")
		}
		if released || again {
			t.Error("Close did not wait for the call under way")
		}
		leave()
		synctest.Wait()
		if !released || !again {
			t.Error("Close waits although nothing is under way")
		}
	})
}
