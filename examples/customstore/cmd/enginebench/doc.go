// Command enginebench measures the engine on boltstore; the scenarios and flags
// are those of package enginebench:
//
//	go run ./cmd/enginebench -scenario all -dir /mnt/disk
//
// It may import everything of this module and of go-stabilize.
//
// Where to start reading: main.go.
package main
