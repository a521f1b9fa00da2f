# Lapidary. `make` builds build/lapidary; `make help` lists the rest. V=1 shows the commands,
# SAN=1 builds with ASan and UBSan in a folder of its own.
#
# Each folder below user/ is one floor of DESIGN.md and one static archive; a unit test links the archive
# of its own floor and the lower ones alone, so a call upwards does not even link.

CC      ?= gcc
CLANG   ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)
PREFIX  ?= /usr/local
DESTDIR ?=
OUT     := build$(if $(SAN),/asan)
GEN     := build/gen
VERSION := 0.1.0

Q  := $(if $(V),,@)
say = $(if $(V),,@printf '  %-7s %s\n' '$(1)' '$(2)')

.DELETE_ON_ERROR:
.SECONDARY:
.SUFFIXES:

CFLAGS   ?= -O2 -g
WARN     := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
            -Wno-missing-field-initializers
HARDEN   := -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE
comma    := ,
SANFLAGS := $(if $(SAN),-fsanitize=address$(comma)undefined -fno-omit-frame-pointer -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=0)
ALLCFLAGS = -std=gnu11 $(CFLAGS) $(WARN) $(HARDEN) $(SANFLAGS) -D_GNU_SOURCE -DLAPIDARY_VERSION='"$(VERSION)"' \
            -DLAPIDARY_DATADIR='"$(PREFIX)/share/lapidary"' -I. -I$(GEN) -MMD -MP
LDLIBS   := -lbpf -ldw -lelf -liberty -lcapstone -lcjson -luv -lsqlite3 -lseccomp -lcap-ng -lmd -lz -lpthread
LDFLAGS  += -pie -Wl,-z,relro,-z,now -Wl,--as-needed

# Floors, lowest first; folders of one floor stand together.
FLOORS   := base elf probe model crash gems rules act sink cli
floor_number = $(strip $(foreach p,base:2 elf:3 probe:4 model:5 crash:5 gems:5 rules:6 act:7 sink:7 cli:8,\
               $(if $(filter $(1):%,$(p)),$(patsubst $(1):%,%,$(p)))))
# archives a test of floor $(1) may link: its own floor and lower
archives_for = $(foreach f,$(FLOORS),$(if $(shell test $(call floor_number,$(f)) -le $(call floor_number,$(1)) && echo y),$(OUT)/lib$(f).a))

SRC      := $(wildcard $(FLOORS:%=user/%/*.c))
OBJ      := $(SRC:%.c=$(OUT)/%.o)
MAIN     := $(OUT)/user/cli/main.o
AR_ALL   := $(FLOORS:%=$(OUT)/lib%.a)

all: $(OUT)/lapidary

$(OUT)/lapidary: $(MAIN) $(AR_ALL)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALLCFLAGS) $(LDFLAGS) -o $@ $(MAIN) -Wl,--start-group $(AR_ALL) -Wl,--end-group $(LDLIBS)

define archive
$(OUT)/lib$(1).a: $(filter-out $(MAIN),$(filter $(OUT)/user/$(1)/%,$(OBJ)))
	$$(call say,AR,$$@)
	$$(Q)rm -f $$@ && $$(AR) rcs $$@ $$^
endef
$(foreach f,$(FLOORS),$(eval $(call archive,$(f))))

# Where things are installed is compiled in: another PREFIX builds those objects anew.
$(OUT)/prefix: FORCE
	@mkdir -p $(@D)
	@echo '$(PREFIX)' | cmp -s - $@ || echo '$(PREFIX)' > $@
$(OUT)/user/cli/config.o $(OUT)/user/rules/load.o $(OUT)/user/crash/diagnosis.o $(OUT)/user/gems/matrix_read.o: $(OUT)/prefix

$(OUT)/%.o: %.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALLCFLAGS) -c -o $@ $<

# --- BPF: every subject is an object of its own, linked into one skeleton ----------------------------
BPF_SRC  := $(filter-out bpf/features.bpf.c,$(wildcard bpf/*.bpf.c))
BPF_OBJ  := $(BPF_SRC:bpf/%.bpf.c=$(GEN)/%.bpf.o)
BPFFLAGS := -g -O2 -target bpf -mcpu=v3 -D__TARGET_ARCH_x86 -Wall -Werror -I. -I$(GEN) -MMD -MP

$(GEN)/vmlinux.h:
	$(call say,BTF,$@)
	@mkdir -p $(@D)
	$(Q)$(BPFTOOL) btf dump file /sys/kernel/btf/vmlinux format c > $@

$(GEN)/%.bpf.o: bpf/%.bpf.c | $(GEN)/vmlinux.h
	$(call say,BPF,$<)
	$(Q)$(CLANG) $(BPFFLAGS) -c -o $@ $<

$(GEN)/lapidary.linked.o: $(BPF_OBJ)
	$(call say,BPFLINK,$@)
	$(Q)$(BPFTOOL) gen object $@ $^

$(GEN)/features.linked.o: $(GEN)/features.bpf.o
	$(Q)$(BPFTOOL) gen object $@ $^

$(GEN)/%.skel.h: $(GEN)/%.linked.o
	$(call say,SKEL,$@)
	$(Q){ echo '/* NOLINTBEGIN: generated */' && $(BPFTOOL) gen skeleton $< name $*_bpf && \
		echo '/* NOLINTEND */'; } > $@

# whoever includes a skeleton needs it before its first dependency file exists
$(filter $(OUT)/user/probe/%,$(OBJ)): | $(GEN)/lapidary.skel.h $(GEN)/features.skel.h

# --- tests ------------------------------------------------------------------------------------------
# tests/unit/<folder>_<subject>.c and tests/property/<folder>_<subject>.c link up to that folder's floor.
UNIT     := $(patsubst tests/%.c,$(OUT)/tests/%,$(wildcard tests/unit/*.c tests/property/*.c))
unit: $(UNIT)

.SECONDEXPANSION:
$(OUT)/tests/%: tests/%.c $$(call archives_for,$$(firstword $$(subst _, ,$$(notdir $$*))))
	$(call say,TEST,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALLCFLAGS) $(LDFLAGS) -MF $@.d -o $@ $< -Wl,--start-group \
		$(call archives_for,$(firstword $(subst _, ,$(notdir $*)))) -Wl,--end-group -lcmocka $(LDLIBS)

# tests/fuzz/<folder>_<subject>.c: libFuzzer, built by clang from the sources of its floor and lower.
FUZZ     := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(wildcard tests/fuzz/*.c))
fuzz: $(FUZZ)
build/fuzz/%: tests/fuzz/%.c $(SRC) | $(GEN)/lapidary.skel.h $(GEN)/features.skel.h
	$(call say,FUZZ,$@)
	@mkdir -p $(@D)
	$(Q)$(CLANG) -std=gnu11 -g -O1 -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -I. -I$(GEN) \
		-DLAPIDARY_VERSION='"fuzz"' -DLAPIDARY_DATADIR='"."' -o $@ $< \
		$(foreach f,$(FLOORS),$(if $(filter $(OUT)/lib$(f).a,$(call archives_for,$(firstword $(subst _, ,$*)))),$(filter-out user/cli/main.c,$(wildcard user/$(f)/*.c)))) \
		$(LDLIBS)

# --- for people -------------------------------------------------------------------------------------
run: ## set up, build, and watch this host's Ruby processes live on this terminal
	@scripts/setup
	@$(MAKE) --no-print-directory all
	@scripts/run

test: ## set up, build, run every test
	@scripts/setup
	@$(MAKE) --no-print-directory -j$$(nproc) all unit
	@scripts/test

demo: ## the whole story on real parts: crash, verdict, breaker, fresh worker; 90 seconds
	@scripts/setup
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@scripts/demo

bench: ## measure cost, memory and latency; minutes
	@$(MAKE) --no-print-directory bench-query bench-memory bench-latency bench-capture bench-crashes
bench-query bench-memory bench-latency bench-capture: all
	@tests/bench/$(@:bench-%=%)

bench-check: all ## 1,000 real extension files: lapidary check, cold and warm, beside ruby -r
	@tests/bench/check

bench-crashes: all ## N=2000 crashes: what of each report is whole, and how soon it is finished, beside systemd-coredump
	@tests/bench/crashes

test-rubies: all ## every way to crash on Ruby 2.7, 3.1 and 3.3 against gdb and the process's own word; PER=15 of each
	@scripts/rubies
	@tests/bench/crashes matrix

lint: ## format, static analysis, layers
	@scripts/lint

asan: ## build everything with ASan and UBSan and run the unit tests with it
	@$(MAKE) --no-print-directory SAN=1 -j$$(nproc) all unit
	@scripts/test --asan

install: all ## into $(DESTDIR)$(PREFIX)
	install -D -m 0755 build/lapidary $(DESTDIR)$(PREFIX)/sbin/lapidary
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/,lapidary/rules/schema lapidary/rules/diagnosis man/man8)
	install -m 0644 rules/*.json $(DESTDIR)$(PREFIX)/share/lapidary/rules/
	install -m 0644 rules/schema/*.json $(DESTDIR)$(PREFIX)/share/lapidary/rules/schema/
	install -m 0644 rules/diagnosis/*.json $(DESTDIR)$(PREFIX)/share/lapidary/rules/diagnosis/
	install -m 0644 docs/man/*.8 $(DESTDIR)$(PREFIX)/share/man/man8/
	cd user/ruby && find lib README.md lapidary.gemspec -type f -exec install -D -m 0644 {} $(abspath $(DESTDIR)$(PREFIX))/share/lapidary/ruby/{} \;
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's|/usr/local/sbin|$(PREFIX)/sbin|' deploy/lapidary.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/lapidary.service
	install -D -m 0644 deploy/completion.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/lapidary
	install -D -m 0644 deploy/_lapidary $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_lapidary

clean:
	rm -rf build

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' Makefile

.PHONY: FORCE all unit fuzz run test demo bench bench-query bench-memory bench-latency bench-capture bench-check bench-crashes test-rubies lint asan install clean help

-include $(OBJ:.o=.d) $(BPF_OBJ:.o=.d) $(UNIT:=.d)
