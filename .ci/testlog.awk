# Reads `go test -json`, prints one line for each package and the output of each
# test that failed, then what was skipped. Fails if a test was skipped because a
# database was missing. Plain POSIX awk.

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

# What the test itself said: without the names of tests and files.
function reason(log_text,    lines, n, i, said) {
	n = split(log_text, lines, "\n")
	for (i = 1; i <= n; i++) {
		if (lines[i] ~ /^ *(===|---) /) continue
		sub(/^ *[^ ]+\.go:[0-9]+: /, "", lines[i])
		said = said lines[i] "\n"
	}
	return tolower(said)
}

!/^\{/ { print; next }

{
	action = field("Action"); test = field("Test"); id = field("Package") SUBSEP test
}

action == "build-output" { printf "%s", text(field("Output")); next }
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
	why = reason(log_of[id])
	# A capability that a backend declares it does not have is no missing database.
	if (why ~ /database|sqlite|postgres|mongo|mysql|dsn/ && why !~ /backend does not have/) {
		without_database++
		missing = missing log_of[id]
	} else if (skipped - without_database <= 20) {
		others = others log_of[id]
	}
}
action == "pass" || action == "fail" || action == "skip" { delete log_of[id] }

END {
	if (failed != "") printf "\nFAILED tests:%s\n", failed
	if (others != "") printf "\nskipped, for reasons of their own (the first 20):\n%s", others
	if (without_database) {
		printf "\nFAILED: %d tests were skipped for want of a database:\n%s", without_database, missing
		exit 1
	}
}
