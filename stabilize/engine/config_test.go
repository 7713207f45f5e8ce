package engine_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

func TestConfigFromEnv(t *testing.T) {
	lookup := func(vars map[string]string) func(string) (string, bool) {
		return func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
	}
	got, err := engine.ConfigFromEnv(lookup(map[string]string{"STABILIZE_CONCURRENCY": "7", "STABILIZE_LEASE_TTL": "9s"}))
	if err != nil || got.Concurrency != 7 || got.LeaseTTL != 9*time.Second || got.MaxPoll != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = engine.ConfigFromEnv(lookup(map[string]string{"STABILIZE_CONCURRENCY": "0", "STABILIZE_MAX_POLL": "soon"}))
	if !errors.Is(err, stabilize.ErrInvalid) || !strings.Contains(err.Error(), "STABILIZE_CONCURRENCY") || !strings.Contains(err.Error(), "STABILIZE_MAX_POLL") {
		t.Errorf("two mistakes give %v", err)
	}
	_, err = engine.New(memstore.New(memstore.Config{}), engine.WithConfig(engine.Config{LeaseTTL: -time.Second}))
	if !errors.Is(err, stabilize.ErrInvalid) || !strings.Contains(err.Error(), "lease TTL") {
		t.Errorf("a negative lease TTL gives %v", err)
	}
}
