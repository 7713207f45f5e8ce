//go:build unix && !linux

package pgtest

import (
	"context"
	"net"
)

// reservePort finds a port that is free now. Elsewhere than on Linux a second socket
// cannot bind to one that is kept.
func reservePort() (port int, release func(), err error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, nil, err
	}
	return l.Addr().(*net.TCPAddr).Port, func() {}, l.Close()
}
