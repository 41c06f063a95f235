/* sedge run: one program on tensors from a file. The door for tests and other programs. */
#include "tools/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct option_spec options[] = {
    {"weights", 'w', OPTION_FILE, "FILE", "parameters (safetensors); otherwise initial ones", NULL},
    {"in", 'i', OPTION_FILE, "FILE", "tensors: inputs of the program, and any named value in it",
     NULL},
    {"out", 'o', OPTION_FILE, "FILE", "where the outputs go (safetensors)", NULL},
    {"want", 0, OPTION_LIST, "NAME…", "named values to return as well", NULL},
    {"grad", 'g', OPTION_FLAG, NULL, "the gradient of each parameter, as grad/NAME", NULL},
    {"seed", 0, OPTION_TEXT, "N", "of the draws and of initial parameters (1)", NULL},
    SESSION_OPTIONS,
    {0}};

struct job {
    struct command_line *line;
    struct session s;
    struct tensor_file *in, *weights;
    struct plan *plan;
    struct loaded *loaded;
    uint64_t seed;
};

/* The first axis of a bound input tells the size of the program's dimension. */
static bool find_dims(struct job *j, const char *program, struct named_size *dims, uint32_t *count)
{
    struct model *m = j->s.model;
    const struct section *p = section_find(&m->programs, program);
    const struct yaml *in = p ? yaml_get(p->body, "in") : NULL;
    for (uint32_t i = 0; in && i < in->count; i++) {
        const struct tensor *t = j->in ? tensor_file_get(j->in, in->keys[i]->text) : NULL;
        const struct yaml *type = in->items[i];
        if (type->kind == YAML_MAP)
            type = yaml_get(type, "type");
        if (!t || !type || type->kind != YAML_LIST || type->count < 2 || t->rank == 0 ||
            type->items[1]->kind != YAML_SCALAR || model_param(m, type->items[1]->text))
            continue;
        const char *name = type->items[1]->text;
        bool known = false;
        for (uint32_t k = 0; k < *count; k++) {
            if (strcmp(dims[k].name, name) != 0)
                continue;
            known = true;
            if (dims[k].size == t->dim[0])
                continue;
            diag_error(j->s.diags, FAULT_DATA, (struct span){0},
                       "%s: `%s` is %lld in one tensor and %lld in another", j->in->path, name,
                       (long long)dims[k].size, (long long)t->dim[0]);
            return false;
        }
        if (t->dim[0] < 1) {
            diag_error(j->s.diags, FAULT_DATA, (struct span){0}, "%s: `%s` is empty", j->in->path,
                       in->keys[i]->text);
            return false;
        }
        if (!known && *count < 8)
            dims[(*count)++] = (struct named_size){name, t->dim[0]};
    }
    return true;
}

static bool compile(struct job *j, const char *program)
{
    struct command_line *line = j->line;
    struct named_size dims[8];
    struct elaborate_request q = {.program = program, .dims = dims};
    struct compile_options o = {.gradients = option_given(line, "grad"),
                                .grad_outputs = option_given(line, "grad")};
    if (!find_dims(j, program, dims, &q.dim_count))
        return false;
    const char **bind = arena_new_array(line->arena, const char *, j->in ? j->in->count + 1 : 1);
    for (uint32_t i = 0; j->in && i < j->in->count; i++)
        bind[q.bind_count++] = j->in->entries[i].name;
    q.bind = bind;
    q.want = option_list(line, "want");
    while (q.want && q.want[q.want_count])
        q.want_count++;
    j->plan = session_compile(&j->s, &q, &o);
    if (j->plan && o.gradients) {
        bool any = false;
        for (uint32_t i = 0; i < j->plan->output_count; i++)
            any |= strncmp(j->plan->outputs[i].name, "grad/", 5) == 0;
        if (!any) {
            diag_error(line->diags, FAULT_CONFIG, (struct span){0},
                       "program `%s` minimises nothing: --grad has no meaning", program);
            return false;
        }
    }
    return j->plan != NULL;
}

static bool load_state(struct job *j)
{
    struct session *s = &j->s;
    if (!session_machine(s) || !session_state(s, &j->plan, 1, NO_ROW))
        return false;
    const char *path = option_text(j->line, "weights");
    if (!path) {
        state_init(&s->state, j->seed);
        return true;
    }
    j->weights = tensor_file_open(s->diags, s->arena, path);
    return j->weights && state_load(s->diags, &s->state, j->weights, FILL_WEIGHTS);
}

/* --- inputs ------------------------------------------------------------------------------- */

static bool bad_input(struct job *j, const char *name, const struct tensor *t,
                      const struct type *want)
{
    char have[160];
    size_t at = (size_t)snprintf(have, sizeof have, "%s [", dtype_name(t->dtype));
    for (uint32_t k = 0; k < t->rank && at < sizeof have; k++)
        at += (size_t)snprintf(have + at, sizeof have - at, "%s%lld", k ? ", " : "",
                               (long long)t->dim[k]);
    struct graph axes = {.axes = (struct axis *)j->plan->axes, .axis_count = j->plan->axis_count};
    diag_error(j->s.diags, FAULT_DATA, (struct span){0}, "%s: `%s` is %s] but the program wants %s",
               j->in->path, name, have, type_print(j->s.arena, &axes, want));
    return false;
}

static double element(const struct tensor *t, int64_t i)
{
    switch (t->dtype) {
    case DT_F32:
        return ((const float *)t->data)[i];
    case DT_F64:
        return ((const double *)t->data)[i];
    case DT_I64:
        return (double)((const int64_t *)t->data)[i];
    case DT_BOOL:
        return ((const uint8_t *)t->data)[i];
    default:
        return ((const int32_t *)t->data)[i];
    }
}

/* Whole numbers for whole numbers, reals for reals, in the width the program wants. */
static bool convert(struct job *j, const char *name, const struct tensor *t,
                    const struct plan_tensor *to, void *out)
{
    bool real = t->dtype == DT_F32 || t->dtype == DT_F64, same = t->rank == to->type.rank;
    enum dtype want = to->type.dtype;
    for (uint32_t k = 0; same && k < t->rank; k++)
        same = t->dim[k] == to->type.dim[k].size;
    if (!same || real != (want == DT_F32 || want == DT_F64))
        return bad_input(j, name, t, &to->type);
    int64_t n = tensor_size(t);
    int32_t states =
        to->type.process ? j->s.model->processes[to->type.process - 1].chain.states : INT32_MAX;
    for (int64_t i = 0; i < n; i++) {
        double v = element(t, i);
        if (!real && (v < INT32_MIN || v > INT32_MAX)) {
            diag_error(j->s.diags, FAULT_DATA, (struct span){0},
                       "%s: `%s` holds %.0f, which is too large", j->in->path, name, v);
            return false;
        }
        if (want == DT_F32)
            ((float *)out)[i] = (float)v;
        else if (want == DT_F64)
            ((double *)out)[i] = v;
        else if (want == DT_BOOL)
            ((uint8_t *)out)[i] = v != 0;
        else if (want == DT_TOKEN && (v < 0 || v >= states)) {
            diag_error(j->s.diags, FAULT_DATA, (struct span){0},
                       "%s: `%s` holds the token %.0f, and there are %d states", j->in->path, name,
                       v, states);
            return false;
        } else
            ((int32_t *)out)[i] = (int32_t)v;
    }
    return true;
}

static bool bind_inputs(struct job *j, const void **inputs)
{
    for (uint32_t i = 0; i < j->plan->input_count; i++) {
        const char *name = j->plan->inputs[i].name;
        const struct plan_tensor *to = &j->plan->tensors[j->plan->inputs[i].tensor];
        const struct tensor *t = j->in ? tensor_file_get(j->in, name) : NULL;
        if (!t) {
            diag_error(j->s.diags, FAULT_DATA, (struct span){0}, "the program needs the input `%s`",
                       name);
            diag_hint(j->s.diags, "put a tensor of that name into the file given with --in");
            return false;
        }
        struct region room;
        if (!region_map(j->s.diags, &room, (size_t)to->bytes, name) ||
            !convert(j, name, t, to, room.data))
            return false;
        inputs[i] = room.data;
    }
    return true;
}

static bool write_outputs(struct job *j, const char *path)
{
    uint32_t n = j->plan->output_count;
    struct tensor_entry *entries = arena_new_array(j->s.arena, struct tensor_entry, n);
    for (uint32_t i = 0; i < n; i++)
        entries[i] = (struct tensor_entry){j->plan->outputs[i].name,
                                           executor_output(j->loaded, j->plan->outputs[i].tensor)};
    const char *keys[] = {"format"}, *values[] = {"sedge"};
    return tensor_file_write(j->s.diags, path, entries, n, keys, values, 1);
}

static void print_outputs(struct job *j)
{
    for (uint32_t i = 0; i < j->plan->output_count; i++) {
        struct tensor t = executor_output(j->loaded, j->plan->outputs[i].tensor);
        int64_t n = tensor_size(&t);
        printf("%s %s [", j->plan->outputs[i].name, dtype_name(t.dtype));
        for (uint32_t k = 0; k < t.rank; k++)
            printf("%s%lld", k ? ", " : "", (long long)t.dim[k]);
        printf("]:");
        for (int64_t k = 0; k < n && k < 8; k++)
            printf(" %.9g", element(&t, k));
        printf("%s\n", n > 8 ? " …" : "");
    }
}

static int run(struct command_line *line)
{
    struct job j = {.line = line, .seed = 1};
    const char *in = option_text(line, "in"), *seed = option_text(line, "seed"),
               *out = option_text(line, "out");
    struct yaml number = {.kind = YAML_SCALAR, .text = seed};
    int64_t value;
    if (seed && (!yaml_int(&number, &value) || value < 0)) {
        diag_error(line->diags, FAULT_CONFIG, (struct span){0},
                   "--seed is a whole number, not `%s`", seed);
        return 2;
    }
    if (seed)
        j.seed = (uint64_t)value;
    if (!session_model(&j.s, line, line->positional[0]))
        return diags_exit_code(line->diags);
    if (in && !(j.in = tensor_file_open(line->diags, line->arena, in)))
        return diags_exit_code(line->diags);
    if (!compile(&j, line->positional[1]) || !load_state(&j))
        return diags_exit_code(line->diags);
    j.loaded = executor_load(line->diags, line->arena, &j.s.engine, j.plan);
    const void **inputs = arena_new_array(line->arena, const void *, j.plan->input_count + 1);
    if (!j.loaded || !bind_inputs(&j, inputs))
        return diags_exit_code(line->diags);
    struct run r = {.inputs = inputs, .key = random_key(j.seed, "run")};
    uint32_t step;
    executor_run(j.loaded, &r, &step);
    if (out)
        write_outputs(&j, out);
    else
        print_outputs(&j);
    return diags_exit_code(line->diags);
}

const struct command command_run = {
    .name = "run",
    .usage = "MODEL PROGRAM [key=value…] [--weights W] [--in A] [--out B] [--want NAME…] [--grad]",
    .doc = "run one program on tensors from a file",
    .detail =
        "Tensors in A bind the program's inputs and any named value in it (binding `t` or `x` in\n"
        "`train` replaces the random draw), and so bind the dimensions. B receives the outputs,\n"
        "every value wanted, and with --grad the gradient of each parameter under grad/NAME.\n"
        "Without --out the first elements are printed.",
    .least = 2,
    .most = 2,
    .overrides = true,
    .options = options,
    .run = run,
};
