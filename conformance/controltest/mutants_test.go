package controltest

import "github.com/stabilize-dev/go-stabilize/conformance/internal/mutant"

func mutations() []mutant.Mutation { return nil }
