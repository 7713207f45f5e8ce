package pgtest

import (
	"errors"
	"net"
	"strconv"
	"syscall"
	"testing"
)

// A port that is kept is taken for whoever looks for a free one, and not for who asks for
// it as the server does.
func TestReservedPort(t *testing.T) {
	port, release, err := reservePort()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(fd) }()
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("another binds to it: %v", err)
	}
	for range 2 { // again after a crash
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", l.Addr().String()) //nolint:noctx // to this machine
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Close(), l.Close()
	}
}
