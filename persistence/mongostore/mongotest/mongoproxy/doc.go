// Package mongoproxy stands between MongoDB clients and a server: it has the server
// execute one command at a time, for servers that are not atomic otherwise, shows
// every command to who asks, and makes the connection or the server fail at any
// moment of any command.
//
// It is for tests only and may import the standard library and the BSON package of
// MongoDB's driver. Messages that are compressed or encrypted it does not
// understand: clients must not ask for either.
//
// Where to start reading: proxy.go, then wire.go.
package mongoproxy
