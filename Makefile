# make run    build everything and start the whole fleet; open the page it prints
# make test   run every test, and install and start what they need
.PHONY: run build test check ui bench soak fuzz install clean

VERSION ?= 0.1.0
LDFLAGS := -s -w -X falcon/common/daemon.version=$(VERSION)
# The agent does without ugorji's code for each type of slice and map: a third of its size,
# and it decodes little.
AGENT := -tags codec.notfastpath
PROGRAMS := $(filter-out falcon,$(notdir $(wildcard cmd/*)))
DAEMONS := $(filter-out agent-guard,$(PROGRAMS)) # the guard comes with the agent

# ARGS is handed to falcon: make run ARGS="--listen 0.0.0.0"
run: build
	@exec bin/falcon up $(ARGS)

build:
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/falcon ./cmd/falcon
	@for d in $(filter-out agent,$(PROGRAMS)); do CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/falcon-$$d ./cmd/$$d || exit 1; done
	@CGO_ENABLED=0 go build $(AGENT) -trimpath -ldflags '$(LDFLAGS)' -o bin/falcon-agent ./cmd/agent
	@for a in amd64 arm64; do \
		CGO_ENABLED=0 GOARCH=$$a go build $(AGENT) -trimpath -ldflags '$(LDFLAGS)' -o bin/download/falcon-agent-linux-$$a ./cmd/agent && \
		CGO_ENABLED=0 GOARCH=$$a go build -trimpath -ldflags '$(LDFLAGS)' -o bin/download/falcon-agent-guard-linux-$$a ./cmd/agent-guard || exit 1; \
	done

# Everything, as CI runs it: unit, race, import rules, real MariaDB, end to end, browser.
test: build
	@scripts/test.sh

# What must hold at every commit and takes a minute: format, vet, staticcheck,
# import rules, generated files unchanged.
check:
	@scripts/check.sh

# The page's assets, modules/dashboard/dist, from modules/dashboard/web.
ui:
	@scripts/ui.sh build

# A line "name value unit target pass|MISS" for each figure; make bench FILTER=graph.
bench: build
	@scripts/bench.sh $(FILTER)

# The long form of every soak, kill loop and fuzz test.
soak: build
	FALCON_SOAK=1 scripts/test.sh
	@scripts/fuzz.sh 60s

fuzz:
	@scripts/fuzz.sh 10s

# Programs, configurations and systemd units below DESTDIR; docs/operations.md has the
# steps. CONFIG=config/examples/three-nodes takes the configurations from there.
CONFIG ?= config
install: build
	@DESTDIR=$(DESTDIR) deploy/install.sh bin $(CONFIG) $(DAEMONS)

clean:
	rm -rf bin modules/dashboard/web/node_modules
