package main

import "github.com/stabilize-dev/go-stabilize/conformance/enginebench"

func main() { enginebench.MainDSN() }
