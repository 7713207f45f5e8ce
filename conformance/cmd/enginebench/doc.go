// Command enginebench measures the engine on a store of this module, beside the
// raw limit of that store in the same run:
//
//	go run ./conformance/cmd/enginebench -dsn memory: -scenario all
//	go run ./conformance/cmd/enginebench -dsn sqlite:// -scenario B2 -runs 3
//	go run ./conformance/cmd/enginebench -dsn 'sqlite:///data/x.db?synchronous=normal' -scenario B4 -json
//	go run ./conformance/cmd/enginebench -dsn mongodb://user:password@localhost/bench -scenario B2
//
// What the scenarios and the numbers are is in the comments of package enginebench.
//
// It may import everything but contrib.
//
// Where to start reading: main.go, then package enginebench.
package main
