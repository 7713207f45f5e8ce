// Package stores opens the stores of this module by data source name, such as
// sqlite://orders.db. It alone knows them all: who imports it links the drivers of
// every database. A program that works on one store can open it by its own package
// and give it to engine.New.
//
// It may import persistence and the stores below it, queue and stabilize.
//
// Where to start reading: dsn.go.
package stores
