package enginebench

import (
	"os"
	"strconv"
	"strings"
)

// writtenByProcess is the number of bytes given to write system calls; false
// where the system does not tell.
func writtenByProcess() (int64, bool) {
	data, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "wchar:"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
