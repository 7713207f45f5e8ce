//go:build !unix

package enginebench

import "time"

// processCPU is not known here.
func processCPU() time.Duration { return 0 }
