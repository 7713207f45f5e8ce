package queuetest

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
	_ "time/tzdata" // the zones of vl06, also where the machine has none
)

// vl06 runs the other clauses of time in processes that live elsewhere: the
// zone of a process is fixed when it starts.
func vl06(e *env) {
	parent, found := strings.CutSuffix(e.Name(), "/VL-06")
	if !found {
		e.Fatalf("VL-06 runs in a sub-test of its own name, which %q is not", e.Name())
	}
	self, err := os.Executable()
	e.Must(err, "finding the test's own program")
	var pattern []string
	for part := range strings.SplitSeq(parent, "/") {
		pattern = append(pattern, "^"+regexp.QuoteMeta(part)+"$")
	}
	for _, zone := range []string{"America/New_York", "Asia/Tokyo"} {
		if _, err := time.LoadLocation(zone); err != nil {
			e.Fatalf("the zone %s is not known: %v", zone, err)
		}
		cmd := exec.CommandContext(e.Ctx(), self, "-test.run="+strings.Join(append(pattern, "^VL-0[2-5]$"), "/"), "-test.v", "-test.timeout=2m")
		cmd.Env = append(os.Environ(), "TZ="+zone)
		out, err := cmd.CombinedOutput()
		passed := strings.Count(string(out), "--- PASS: "+parent+"/VL-0")
		if err != nil || passed != 4 {
			e.Errorf("under TZ=%s %d of 4 clauses passed (%v):\n%s", zone, passed, err, out)
		}
	}
}
