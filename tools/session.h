/* What the commands share: a model, its plans, the state and the machine they run on. */
#ifndef SEDGE_TOOLS_SESSION_H
#define SEDGE_TOOLS_SESSION_H

#include "passes/compile.h"
#include "runtime/data/vocabulary.h"
#include "runtime/executor.h"
#include "tools/command.h"

struct session {
    struct arena *arena;
    struct diags *diags;
    struct model *model;
    const struct vocabulary *vocabulary; /* names the tokens of a rate matrix; NULL: not known */
    bool limited;   /* `memory` may be set for a bare model: */
    int64_t memory; /* bytes; 0: no limit */
    struct span memory_span;
    struct named_size *dims; /* settings that are no params: sizes of dimensions */
    uint32_t dim_count;
    bool unfused; /* --fuse off */
    struct engine engine;
    struct state state;
};

/* The options of every command that compiles programs: entries of its table. */
#define SESSION_OPTIONS                                                                            \
    {"fuse", 0, OPTION_TEXT, "on|off", "off: each node of a program a step of its own", NULL}

/* Reads the model MODEL (a path or a bare name) with the overrides of the command line: `preset`,
 * params, `process.…`, and sizes of dimensions. False after reporting. */
bool session_model(struct session *s, struct command_line *line, const char *model);
/* The model of a recipe, with its settings; WITHOUT_PROCESSES while the data is not known. */
bool session_recipe_model(struct session *s, struct command_line *line, const struct recipe *recipe,
                          bool without_processes);

/* Finds a recipe by path or name; NULL after reporting. */
char *find_recipe(struct command_line *line, const char *name);

/* Threads (OMP_NUM_THREADS, else all cores) and instruction set (SEDGE_ISA); false after
 * reporting, of a setting that makes no sense here. Warns of more threads than cores. */
bool session_machine(struct session *s);

#define NO_ROW UINT32_MAX
/* Maps the rows that the PLANS use, and row ALSO, all zero: state_init or state_load comes next.
 * False after reporting. Close the state when done. */
bool session_state(struct session *s, struct plan *const *plans, uint32_t count, uint32_t also);

/* Compiles one program; REQUEST's dims are completed with those of the session. */
struct plan *session_compile(struct session *s, struct elaborate_request *request,
                             struct compile_options *options);
/* Compiles a program that minimises, with the update of all parameters as UPDATE says, which
 * OPTIONS refer to from then on: one plan, or two where gradients accumulate. Their number; 0 after
 * reporting. */
uint32_t session_training(struct session *s, struct elaborate_request *request,
                          struct compile_options *options, const struct update_options *update,
                          struct plan *plans[2]);

#endif
