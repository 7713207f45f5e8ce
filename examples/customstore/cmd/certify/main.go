package main

import (
	"github.com/stabilize-dev/go-stabilize/conformance/certify"
	"github.com/stabilize-dev/go-stabilize/examples/customstore/boltstoretest"
)

func main() { certify.Main("boltstore", boltstoretest.New) }
