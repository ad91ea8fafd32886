# make run   a whole cluster in one process; needs Go and root
# make test  the whole test suite
# make build all example programs, in bin/
# make lint  gofmt, go vet, staticcheck
# make bench the benchmarks, once each

BIN  := bin
ARGS ?=
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.1

.PHONY: run test lint bench build tools clean

run:
	@echo "Building (the first time takes some minutes) ..."
	@mkdir -p $(BIN)
	@go build -o $(BIN)/ ./examples/standalone
	@internal/setup/ensure runc
	@command -v kubectl >/dev/null || echo "(This machine has no kubectl: make tools builds one, bin/kubectl.)"
	@exec $(BIN)/standalone --data-dir data --kubeconfig data/kubeconfig $(ARGS)

build:
	@mkdir -p $(BIN)
	go build -o $(BIN)/ ./examples/...

# What the end-to-end tests drive and a fresh machine may lack.
tools:
	@internal/setup/ensure runc kubectl gcc

# The race detector needs cgo.
test: tools
	@gofmt -l $$(git ls-files '*.go') | (! grep .) || (echo "the files above are not gofmt-ed"; exit 1)
	go vet ./...
	CGO_ENABLED=1 PATH="$(CURDIR)/$(BIN):$$PATH" go test -race -timeout 30m ./...

lint:
	@gofmt -l $$(git ls-files '*.go') | (! grep .) || (echo "the files above are not gofmt-ed"; exit 1)
	go vet ./...
	go run $(STATICCHECK) ./...

bench:
	go test -run '^$$' -bench . -benchtime 1x ./...

clean:
	rm -rf $(BIN)
