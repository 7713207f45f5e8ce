// Package mongoharness makes a harness of mongostore, with every power that a server
// which is shared with others can have: its handles go by links that break when they
// are told to.
//
// It may import the standard library, MongoDB's driver and this module but contrib.
//
// Where to start reading: mongo.go.
package mongoharness
