# Everything here is also a plain go command; `make help` says which.

GO ?= go

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: test
test: ## Run all tests: go test ./...
	$(GO) test ./...

.PHONY: race
race: ## Run all tests under the race detector (needs a C compiler)
	$(GO) test -race ./...

.PHONY: bench
bench: ## Run the benchmarks, no tests
	$(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: lint
lint: ## Check format, go vet, the house rules, and golangci-lint if installed
	@.ci/run lint

.PHONY: ci
ci: ## Run what continuous integration runs
	@.ci/run

.PHONY: certify
certify: ## Test the memory store against the contract: the certificate
	$(GO) run ./conformance/cmd/certify -dsn memory:

.PHONY: docs
docs: ## Write docs/contract.md from the clauses, docs/patterns.md from a run
	$(GO) run ./conformance/clausedoc > docs/contract.new
	@mv docs/contract.new docs/contract.md
	$(GO) test -run TestTable ./conformance/patterns -update

.PHONY: quickstart
quickstart: ## Run the example workflow over this repository
	$(GO) run ./examples/quickstart
