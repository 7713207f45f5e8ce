# Reads `go test -json`, prints one line for each package and the output of each
# test that failed, or had not ended when its package did. Fails if any test was
# skipped: a test that did not run has shown nothing, and its reason is printed. Plain
# POSIX awk.

function field(name,    s) {
	if (!match($0, "\"" name "\":\"([^\"\\\\]|\\\\.)*\"")) return ""
	s = substr($0, RSTART, RLENGTH)
	sub(/^"[^"]*":"/, "", s)
	sub(/"$/, "", s)
	return s
}

function text(s) {
	gsub(/\\\\/, "\001", s)
	gsub(/\\n/, "\n", s)
	gsub(/\\t/, "\t", s)
	gsub(/\\"/, "\"", s)
	gsub(/\\u003c/, "<", s)
	gsub(/\\u003e/, ">", s)
	gsub(/\\u0026/, "\\&", s)
	gsub("\001", "\\", s)
	return s
}

!/^\{/ { print; next }

{
	action = field("Action"); test = field("Test"); id = field("Package") SUBSEP test
}

action == "build-output" { printf "%s", text(field("Output")); next }
action == "run" { running[id] = field("Package") " " test }
action == "output" && test == "" {
	line = text(field("Output"))
	if (line !~ /^(PASS|coverage:|\?)/) printf "%s", line
	next
}
action == "output" { log_of[id] = log_of[id] text(field("Output")); next }
action == "fail" && test != "" {
	printf "%s", log_of[id]
	failed = failed "\n  " field("Package") " " test
}
action == "skip" && test != "" {
	skipped++
	reasons = reasons log_of[id]
}
action == "pass" || action == "fail" || action == "skip" {
	delete log_of[id]
	delete running[id]
}

END {
	for (id in running) {
		printf "%s", log_of[id]
		failed = failed "\n  " running[id] ", which did not end"
	}
	if (failed != "") printf "\nFAILED tests:%s\n", failed
	if (skipped) {
		printf "\nFAILED: %d tests were skipped:\n%s", skipped, reasons
		exit 1
	}
}
