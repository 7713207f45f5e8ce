package storetest

import (
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/mutant"
)

func TestSound(t *testing.T) { mutant.Sound(t, checks(), harnessOf) }

func TestMutants(t *testing.T) { mutant.Check(t, checks(), mutations(), without(), harnessOf) }
