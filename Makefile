# sedge, built out of tree under build/FLAVOUR. `make help` says what there is to make.

FLAVOUR ?= release
PREFIX ?= /usr/local
DESTDIR ?=
BUILD = build/$(FLAVOUR)
OBJ = $(BUILD)/obj

ifeq ($(origin CC),default)
CC = gcc
endif

# What a flavour sets: how code is optimised, how the kernels are, and the sanitizers.
ifeq ($(FLAVOUR),release)
OPTIMISE = -O2 -g
KERNEL_OPTIMISE = -O3 -g
else ifeq ($(FLAVOUR),debug)
OPTIMISE = -O0 -g
KERNEL_OPTIMISE = $(OPTIMISE)
else ifeq ($(FLAVOUR),asan)
OPTIMISE = -O1 -g1 -fno-omit-frame-pointer
KERNEL_OPTIMISE = $(OPTIMISE)
SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=all
else ifeq ($(FLAVOUR),clang)
CC = clang
OPTIMISE = -O2 -g
KERNEL_OPTIMISE = -O3 -g
else
$(error there is no flavour "$(FLAVOUR)": release, debug, asan or clang)
endif

MACHINE := $(shell $(CC) -dumpmachine 2>/dev/null)
MULTIARCH := $(or $(shell $(CC) -print-multiarch 2>/dev/null),$(MACHINE))
X86_64 := $(filter x86_64-%,$(MACHINE))

# The folder is named because another package's BLIS may own the default names.
BLIS_INCLUDE ?= /usr/include/$(MULTIARCH)/blis-openmp
BLIS_LIB ?= /usr/lib/$(MULTIARCH)/blis-openmp
LIBS = -L$(BLIS_LIB) -Wl,-rpath,$(BLIS_LIB) -lblis -lyaml -ljansson -lpcre2-8 -lutf8proc -lminizip -lz $(if $(X86_64),-lmvec) -lm

# CPPFLAGS, CFLAGS and LDFLAGS are the user's and come last.
PREPROCESS = -I. -isystem $(BLIS_INCLUDE) -D_POSIX_C_SOURCE=200809L $(CPPFLAGS)
COMPILE = -std=c11 -Wall -Wextra -Wshadow $(if $(filter 1,$(WERROR)),-Werror) -fopenmp \
          $(SANITIZE) -MMD -MP
LINK = $(CC) $(OPTIMISE) $(SANITIZE) -fopenmp

# ------------------------------------------------------------------------------ what there is

KERNEL_SRC := $(filter-out ops/kernels/cpu/host_%,$(wildcard ops/kernels/cpu/*.c))
LIBRARY_SRC := $(filter-out $(KERNEL_SRC), \
                 $(sort $(shell find graph ops passes runtime -name '*.c' 2>/dev/null)))
TOOL_SRC := $(wildcard tools/*.c)
TEST_SRC := $(sort $(wildcard tests/*.c tests/support/*.c) $(shell find tests -name 'test_*.c' 2>/dev/null))

# A kernel file is compiled once for each instruction set; the table that chooses among them at
# start is compiled once, as is everything else in a file called host_*.
ISAS = plain $(if $(X86_64),v2 v3 v4)
ISA_FLAGS_v2 = -march=x86-64-v2
ISA_FLAGS_v3 = -march=x86-64-v3
ISA_FLAGS_v4 = -march=x86-64-v4 -mprefer-vector-width=512
# Never -ffast-math: it makes the whole process flush denormal numbers to zero.
KERNEL_FLAGS = $(KERNEL_OPTIMISE) -fopenmp-simd -fno-math-errno -ffp-contract=fast

LIBRARY_OBJ = $(LIBRARY_SRC:%.c=$(OBJ)/%.o) \
              $(foreach isa,$(ISAS),$(KERNEL_SRC:%.c=$(OBJ)/%.$(isa).o))
TOOL_OBJ = $(TOOL_SRC:%.c=$(OBJ)/%.o)
TEST_OBJ = $(TEST_SRC:%.c=$(OBJ)/%.o)
LIBRARY = $(BUILD)/libsedge.a
# What tests of the command link: its parts without main.
COMMAND = $(BUILD)/libcommand.a

COMMIT := $(shell git rev-parse --verify --quiet --short HEAD 2>/dev/null)

# ---------------------------------------------------------------------------- what is needed

# The packages whose header the compiler does not find, by one run of the preprocessor.
HASH := \#
PACKAGES = stdio.h=libc6-dev omp.h=libomp-dev yaml.h=libyaml-dev jansson.h=libjansson-dev \
           pcre2.h=libpcre2-dev utf8proc.h=libutf8proc-dev zlib.h=zlib1g-dev \
           minizip/unzip.h=libminizip-dev \
           Random123/philox.h=librandom123-dev xxhash.h=libxxhash-dev
TEST_GOALS = test tests golden $(BUILD)/tests
QUIET_GOALS = help clean format check-layers

ifneq ($(filter-out $(QUIET_GOALS),$(or $(MAKECMDGOALS),all)),)
ifneq ($(filter $(TEST_GOALS),$(MAKECMDGOALS)),)
PACKAGES += criterion/criterion.h=libcriterion-dev
endif
ifeq ($(shell command -v $(firstword $(CC)) 2>/dev/null),)
MISSING := $(firstword $(CC))
else
MISSING := $(shell for p in $(PACKAGES); do \
    printf '$(HASH)if !__has_include(<%s>)\n' "$${p%%=*}"; \
    printf '%s\n$(HASH)endif\n' "$${p$(HASH)*=}"; \
    done | $(CC) $(PREPROCESS) -E -P -x c -) \
    $(if $(wildcard $(BLIS_INCLUDE)/blis.h),,libblis-openmp-dev)
endif
ifneq ($(strip $(MISSING)),)
SETUP = $(if $(filter clang libomp-dev libcriterion-dev,$(MISSING)),test,build)
$(error missing Debian packages: $(strip $(MISSING)). Run `tools/setup $(SETUP)` to install them)
endif
endif

# ------------------------------------------------------------------------------------- targets

.PHONY: all tests test golden install check-layers format clean help FORCE
.DELETE_ON_ERROR:
.SUFFIXES:

all: $(BUILD)/sedge $(if $(filter release,$(FLAVOUR)),sedge)

# `make V=1` shows whole commands.
Q = $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-5s %s\n' '$(1)' '$(2)')

sedge: $(BUILD)/sedge
	@ln -sfn $< $@

$(BUILD)/sedge: $(TOOL_OBJ) $(LIBRARY)
	$(call say,LINK,$@)
	$(Q)$(LINK) $(CFLAGS) -o $@ $(TOOL_OBJ) $(LIBRARY) $(LDFLAGS) $(LIBS)

$(BUILD)/tests: $(TEST_OBJ) $(COMMAND) $(LIBRARY)
	$(call say,LINK,$@)
	$(Q)$(LINK) $(CFLAGS) -o $@ $(TEST_OBJ) $(COMMAND) $(LIBRARY) $(LDFLAGS) -lcriterion $(LIBS)

$(LIBRARY): $(LIBRARY_OBJ)
$(COMMAND): $(filter-out $(OBJ)/tools/main.o,$(TOOL_OBJ))
$(LIBRARY) $(COMMAND): $(BUILD)/stamp/sources
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)

$(OBJ)/%.o: %.c $(BUILD)/stamp/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(PREPROCESS) $(COMPILE) $(OPTIMISE) $(DEFINE) $(CFLAGS) -c -o $@ $<

define kernel_rule
$(OBJ)/%.$(1).o: %.c $(BUILD)/stamp/flags
	$$(call say,CC,$$< ($(1)))
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(PREPROCESS) -DSEDGE_ISA_NAME=$(1) $$(COMPILE) $$(KERNEL_FLAGS) \
	    $(ISA_FLAGS_$(1)) $$(CFLAGS) -c -o $$@ $$<
endef
$(foreach isa,$(ISAS),$(eval $(call kernel_rule,$(isa))))

$(TOOL_OBJ): DEFINE = -DSEDGE_PREFIX_MODELS='"$(PREFIX)/share/sedge/models"'
$(TOOL_OBJ): $(BUILD)/stamp/prefix
$(OBJ)/tools/version.o: DEFINE += $(if $(COMMIT),-DSEDGE_COMMIT='"$(COMMIT)"')
$(OBJ)/tools/version.o: $(BUILD)/stamp/commit

# A stamp is touched only when its text changes: what depends on it is then made again.
STAMP_flags = $(CC) $(PREPROCESS) $(COMPILE) $(OPTIMISE) $(KERNEL_FLAGS) $(CFLAGS)
STAMP_sources = $(LIBRARY_OBJ) $(TOOL_OBJ)
STAMP_prefix = $(PREFIX)
STAMP_commit = $(COMMIT)
$(patsubst %,$(BUILD)/stamp/%,flags sources prefix commit): $(BUILD)/stamp/%: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(STAMP_$*)' | cmp -s - $@ || printf '%s\n' '$(STAMP_$*)' >$@

-include $(LIBRARY_OBJ:.o=.d) $(TOOL_OBJ:.o=.d) $(TEST_OBJ:.o=.d)

tests: $(BUILD)/tests

test: all tests
	@tools/run-tests $(BUILD)

golden: $(BUILD)/tests
	@test -d '$(SEDGE_GOLDEN)' || { echo 'make golden needs SEDGE_GOLDEN=DIR' >&2; exit 1; }
	@SEDGE_GOLDEN='$(SEDGE_GOLDEN)' tools/run-tests $(BUILD) 'golden/*'

install: $(BUILD)/sedge
	install -D -m 755 $(BUILD)/sedge '$(DESTDIR)$(PREFIX)/bin/sedge'
	find models -type f ! -name README.md \
	    -exec install -D -m 644 {} '$(DESTDIR)$(PREFIX)/share/sedge/{}' \;

check-layers:
	@tools/check-layers

format:
	clang-format -i $$(find graph ops passes runtime tools tests -name '*.[ch]')

clean:
	rm -rf build
	rm -f sedge

help:
	@echo 'make                         build/release/sedge, and ./sedge, a link to it'
	@echo 'make FLAVOUR=NAME            another build: debug, asan (address and undefined-behaviour'
	@echo '                             sanitizers) or clang'
	@echo 'make test                    every test; the last line counts them'
	@echo 'make golden SEDGE_GOLDEN=DIR the tests against reference vectors in DIR'
	@echo 'make install PREFIX=DIR      bin/sedge and share/sedge/models (default /usr/local)'
	@echo 'make check-layers            who includes whom, and the other rules of the house'
	@echo 'make format                  clang-format on every source'
	@echo 'make clean                   removes build/ and ./sedge'
	@echo 'Variables: WERROR=1 (warnings are errors), V=1 (whole commands), CC, CFLAGS, CPPFLAGS,'
	@echo 'LDFLAGS, DESTDIR, BLIS_INCLUDE, BLIS_LIB'
