package pgtest

import (
	"errors"
	"os"
	"syscall"
)

// reservePort finds a port of this machine that nobody else is given until release is
// called, whether the server runs or not: a socket has it that never listens. The server
// can bind to it all the same, as both set SO_REUSEADDR and it asks for it by its number.
func reservePort() (port int, release func(), err error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			_ = syscall.Close(fd)
		}
	}()
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return 0, nil, os.NewSyscallError("setsockopt", err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, nil, os.NewSyscallError("bind", err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		return 0, nil, os.NewSyscallError("getsockname", err)
	}
	addr, ok := at.(*syscall.SockaddrInet4)
	if !ok {
		return 0, nil, errors.New("a socket has another kind of address than it was given")
	}
	return addr.Port, func() { _ = syscall.Close(fd) }, nil
}
