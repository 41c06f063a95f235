/* From a recipe or a run folder to data, model, plans and state. */
#include "tools/project.h"
#include "graph/base/check.h"
#include "runtime/data/source.h"
#include "tools/budget.h"
#include "tools/project_bound.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- data --------------------------------------------------------------------------------- */

const char *project_data_file(const struct project *p, const char *name)
{
    if (!name[0] || name[0] == '/' || access(name, F_OK) == 0)
        return name;
    const char *slash = strrchr(p->recipe->path, '/');
    if (slash) {
        char *beside = arena_printf(p->arena, "%.*s/%s", (int)(slash - p->recipe->path),
                                    p->recipe->path, name);
        if (access(beside, F_OK) == 0)
            return beside;
    }
    for (const char *const *f = model_folders(p->arena); *f; f++) {
        char *installed = arena_printf(p->arena, "%s/%s", *f, name);
        if (access(installed, F_OK) == 0)
            return installed;
    }
    return name; /* opening it will say that it is missing */
}

/* `gpt2:DIR` with a folder that is looked for as files are. */
static const char *find_tokenizer(const struct project *p, const char *spec)
{
    const char *colon = spec ? strchr(spec, ':') : NULL;
    return colon ? arena_printf(p->arena, "%.*s:%s", (int)(colon - spec), spec,
                                project_data_file(p, colon + 1))
                 : spec;
}

/* Which of the words of KEY it is: enums of the dataset are in their order. */
static int choice(const char *key, const char *word)
{
    int index = 0;
    size_t size = strlen(word);
    for (const char *at = recipe_key_find(key)->choices; at; at = strchr(at, ' '), index++) {
        at += *at == ' ';
        if (strncmp(at, word, size) == 0 && strcspn(at, " ") == size)
            return index;
    }
    BUG_ON(true); /* the recipe was read by these */
}

static const double *weights(const struct project *p)
{
    const struct texts *texts = &p->recipe->data.weights;
    double *numbers = arena_new_array(p->arena, double, texts->count);
    for (uint32_t i = 0; i < texts->count; i++)
        numbers[i] = strtod(texts->items[i], NULL);
    return numbers;
}

#define CACHE_FROM ((size_t)16 << 20) /* bytes: less is encoded in a second or two */

/* Where tokens are kept, and from how many bytes of data on. */
static const char *cache_folder(const struct project *p, size_t *from)
{
    const char *asked = p->recipe->data.cache, *home = getenv("HOME");
    const char *caches = getenv("XDG_CACHE_HOME");
    bool any = strcmp(asked, "auto") == 0;
    *from = any ? CACHE_FROM : 0;
    if (strcmp(asked, "off") == 0 || (any && !(caches && *caches) && !(home && *home)))
        return NULL;
    if (!any)
        return asked;
    return caches && *caches ? arena_printf(p->arena, "%s/sedge", caches)
                             : arena_printf(p->arena, "%s/.cache/sedge", home);
}

static bool open_data(struct project *p)
{
    struct recipe *q = p->recipe;
    if (q->data.files.count == 0) {
        diag_error(p->diags, FAULT_CONFIG, (struct span){0}, "the recipe names no data");
        diag_hint(p->diags, "say data.files=FILE");
        return false;
    }
    const char **files = arena_new_array(p->arena, const char *, q->data.files.count);
    for (uint32_t i = 0; i < q->data.files.count; i++)
        files[i] = q->data.files.items[i] = project_data_file(p, q->data.files.items[i]);
    if (q->data.valid_file)
        q->data.valid_file = project_data_file(p, q->data.valid_file);
    q->data.tokenizer = find_tokenizer(p, q->data.tokenizer);
    size_t cache_from;
    struct dataset_options o = {
        .files = files,
        .file_count = q->data.files.count,
        .weights = q->data.weights.count ? weights(p) : NULL,
        .format = q->data.format,
        .field = q->data.field,
        .letters = q->data.letters,
        .levels = (uint32_t)q->data.levels,
        .separator = q->data.separator,
        .documents = (enum documents)choice("data.documents", q->data.documents),
        .windows = (enum window_kind)choice("data.windows", q->data.windows),
        .stride = (uint32_t)q->data.stride,
        .batch = (uint32_t)(q->train.batch * q->train.accumulate),
        .by_document = strcmp(q->data.split, "documents") == 0,
        .cache = cache_folder(p, &cache_from),
        .tokenizer = q->data.tokenizer,
        .valid = q->data.valid,
        .valid_file = q->data.valid_file,
        .seed = (uint64_t)q->train.seed,
        .length = (uint32_t)p->length,
        .vocabulary = p->vocabulary,
        .where = q->files_span};
    o.cache_from = cache_from;
    p->data = q->data.classes.count ? dataset_open_classes(p->diags, p->arena, &o)
                                    : dataset_open(p->diags, p->arena, &o);
    if (!p->data)
        return false;
    if (dataset_class_count(p->data) && !model_param(p->s.model, "classes")) {
        diag_error(p->diags, FAULT_CONFIG, q->files_span,
                   "the data has classes, and the model takes no label");
        diag_hint(p->diags, "a model with the param `classes` does: labelled");
        return false;
    }
    p->vocabulary = dataset_vocabulary(p->data);
    /* Padding comes last: where each token sees those before it, none sees padding. */
    bool leaves_out = project_takes(p, "train", "weight") &&
                      (project_takes(p, "train", "fixed") || project_exact(p));
    if (!dataset_pads(p->data) || leaves_out)
        return true;
    diag_error(p->diags, FAULT_CONFIG, q->files_span,
               "windows of these documents have padding, and `train` of the model leaves none out");
    diag_hint(p->diags, "data.documents=joined has none; score-entropy.yaml shows how its inputs "
                        "`weight` and `fixed` leave it out");
    return false;
}

/* --- opening ------------------------------------------------------------------------------ */

static bool read_length(struct project *p)
{
    const struct param *length = model_param(p->s.model, "length");
    if (length && length->value.kind == NUMBER_INT && length->value.i >= 1 &&
        length->value.i <= 1 << 20) {
        p->length = length->value.i;
        return true;
    }
    diag_error(
        p->diags, FAULT_CONFIG, length ? length->span : (struct span){0},
        "to be trained, the model %s needs the param `length`: 1 to 1048576 tokens in a window",
        p->s.model->path);
    return false;
}

bool project_open(struct project *p, struct command_line *line, const char *path,
                  const struct vocabulary *vocabulary, bool without_data)
{
    *p = (struct project){
        .line = line, .arena = line->arena, .diags = line->diags, .vocabulary = vocabulary};
    p->recipe = recipe_read(line->arena, line->diags, path, line->overrides, line->override_count);
    if (!p->recipe || !session_recipe_model(&p->s, line, p->recipe, true) || !read_length(p))
        return false;
    if (!without_data && !open_data(p))
        return false;
    /* Now the vocabulary is known; what the command line says of it still wins. A run says it
     * itself. */
    if (!vocabulary)
        recipe_set_param(p->recipe, p->arena, "vocab",
                         arena_printf(p->arena, "%u", p->vocabulary->size));
    if (p->data && dataset_class_count(p->data))
        recipe_set_param(p->recipe, p->arena, "classes",
                         arena_printf(p->arena, "%u", dataset_class_count(p->data)));
    p->s.vocabulary = p->vocabulary;
    if (!session_recipe_model(&p->s, line, p->recipe, false))
        return false;
    const struct param *vocab = model_param(p->s.model, "vocab");
    if (vocab && vocab->value.i >= p->vocabulary->size)
        return session_machine(&p->s);
    diag_error(p->diags, FAULT_CONFIG, vocab ? vocab->span : (struct span){0},
               "the data has %u symbols, more than `vocab`", p->vocabulary->size);
    return false;
}

bool project_open_run(struct project *p, struct command_line *line, const char *path)
{
    struct folder f = {.diags = line->diags, .arena = line->arena, .path = path};
    if (!folder_has(&f, "config.yaml") || !folder_has(&f, "vocabulary.json")) {
        diag_error(line->diags, access(path, F_OK) == 0 ? FAULT_DATA : FAULT_CONFIG,
                   (struct span){0}, "%s is no run: it has no %s", path,
                   folder_has(&f, "config.yaml") ? "vocabulary.json" : "config.yaml");
        diag_hint(line->diags, "sedge train RECIPE -o %s makes one", path);
        return false;
    }
    struct vocabulary *v =
        vocabulary_read(line->diags, line->arena, folder_file(&f, "vocabulary.json"));
    return v && project_open(p, line, folder_file(&f, "config.yaml"), v, true);
}

static const char *missing_data(const struct project *p)
{
    const struct data_recipe *d = &p->recipe->data;
    for (uint32_t i = 0; i < d->files.count; i++)
        if (access(project_data_file(p, d->files.items[i]), F_OK) != 0)
            return d->files.items[i];
    if (d->valid_file && access(project_data_file(p, d->valid_file), F_OK) != 0)
        return d->valid_file;
    return d->files.count ? NULL : "it names none";
}

bool project_run_data(struct project *p, const char *const *data_files)
{
    const char *missing = data_files ? NULL : missing_data(p);
    if (missing) {
        diag_error(p->diags, FAULT_DATA, (struct span){0}, "the data of this run is gone: %s",
                   missing);
        diag_hint(p->diags, "give other text with --data FILE");
        return false;
    }
    if (data_files) {
        uint32_t n = 0;
        while (data_files[n])
            n++;
        p->recipe->data.files = (struct texts){n, (const char **)data_files};
        p->recipe->data.valid_file = NULL;
        p->recipe->data.classes.count = 0;
        p->recipe->data.weights.count = 0;
        p->recipe->data.valid = 1;
    }
    return open_data(p);
}

/* Whether the data of the run are known languages, whose bytes have this HASH (dataset_hash). */
static bool same_grammars(struct project *p, const char *hash)
{
    const struct data_recipe *d = &p->recipe->data;
    uint64_t *hashes = arena_new_array(p->arena, uint64_t, d->files.count);
    bool known = true;
    for (uint32_t i = 0; i < d->files.count && known; i++) {
        struct source source;
        if (!source_open(p->diags, project_data_file(p, d->files.items[i]), &source))
            return false;
        known = grammar_recognize(&source);
        hashes[i] = hash_bytes(source.text, source.size);
        source_close(&source);
    }
    uint64_t all =
        d->classes.count ? hash_bytes(hashes, d->files.count * sizeof *hashes) : hashes[0];
    return known && strcmp(arena_printf(p->arena, "%016llx", (unsigned long long)all), hash) == 0;
}

bool project_run_grammar(struct project *p, const char *hash)
{
    const struct data_recipe *d = &p->recipe->data;
    bool one = d->files.count == 1 || d->classes.count == d->files.count;
    if (missing_data(p) || !one || d->valid_file || !hash || !same_grammars(p, hash))
        return diags_errors(p->diags) == 0;
    return open_data(p);
}

void project_close(struct project *p)
{
    dataset_close(p->data);
    state_close(&p->s.state);
    region_unmap(&p->s.engine.arena);
}

/* --- plans -------------------------------------------------------------------------------- */

static bool remember(struct project *p, struct plan *plan)
{
    BUG_ON(p->plan_count == sizeof p->plans / sizeof *p->plans);
    if (plan)
        p->plans[p->plan_count++] = plan;
    return plan != NULL;
}

struct plan *project_compile(struct project *p, const struct elaborate_request *request,
                             int64_t batch)
{
    struct named_size dims[] = {{"batch", batch}};
    struct elaborate_request q = *request;
    q.dims = dims;
    q.dim_count = 1;
    /* Without an average there is nothing but the raw weights to read. */
    q.weights = p->recipe->train.ema > 0 ? WEIGHTS_DECLARED : WEIGHTS_RAW;
    if (p->line && option_given(p->line, "raw"))
        q.weights = WEIGHTS_RAW;
    struct plan *plan = session_compile(&p->s, &q, NULL);
    remember(p, plan);
    return plan;
}

struct plan *project_plan(struct project *p, const char *program, int64_t batch,
                          const char *const *bind, uint32_t bind_count)
{
    return project_compile(
        p, &(struct elaborate_request){.program = program, .bind = bind, .bind_count = bind_count},
        batch);
}

bool project_takes(const struct project *p, const char *program, const char *input)
{
    for (const char **name = program_inputs(p->s.model, program); name && *name; name++)
        if (strcmp(*name, input) == 0)
            return true;
    return false;
}

/* What is looked for in programs: a key, or a scalar; either may be NULL. */
struct search {
    const struct model *model;
    const char *key, *scalar;
    bool *seen; /* blocks that were searched: of a loop that is not run, one may call itself */
};

/* Whether Y, or a block that it calls, has it. */
static bool mentions(const struct search *s, const struct yaml *y)
{
    const struct sections *blocks = &s->model->blocks;
    if (y->kind == YAML_SCALAR)
        return s->scalar && strcmp(y->text, s->scalar) == 0;
    for (uint32_t i = 0; i < y->count; i++) {
        const char *its = y->kind == YAML_MAP ? y->keys[i]->text : "";
        const struct section *block = section_find(blocks, its);
        bool new = block && !s->seen[block - blocks->items];
        if (new)
            s->seen[block - blocks->items] = true;
        if ((s->key && strcmp(its, s->key) == 0) || mentions(s, y->items[i]) ||
            (new &&mentions(s, block->body)))
            return true;
    }
    return false;
}

bool project_mentions(const struct project *p, const char *program, const char *key,
                      const char *scalar)
{
    const struct model *m = p->s.model;
    const struct section *section = section_find(&m->programs, program);
    struct search search = {m, key, scalar, arena_new_array(p->arena, bool, m->blocks.count + 1)};
    return section && mentions(&search, section->body);
}

struct update_options project_update(const struct recipe *recipe)
{
    const struct train_recipe *t = &recipe->train;
    return (struct update_options){.beta1 = t->betas[0],
                                   .beta2 = t->betas[1],
                                   .eps = t->eps,
                                   .weight_decay = t->weight_decay,
                                   .clip = t->clip,
                                   .scale = 1.0 / (double)t->accumulate,
                                   .ema = t->ema};
}

void project_gradient_program(const struct project *p, struct gradient_program *out)
{
    static const char *const padding[] = {"weight", "fixed"};
    const struct train_recipe *t = &p->recipe->train;
    bool labelled = p->data && dataset_class_count(p->data) && project_takes(p, "train", "label");
    const char **bind = arena_new_array(p->arena, const char *, 3);
    uint32_t bind_count = 0;
    for (size_t i = 0; p->data && dataset_pads(p->data) && i < 2; i++)
        if (project_takes(p, "train", padding[i]))
            bind[bind_count++] = padding[i];
    if (labelled)
        bind[bind_count++] = "label";
    out->batch = (struct named_size){"batch", t->batch};
    out->request = (struct elaborate_request){.program = "train",
                                              .dims = &out->batch,
                                              .dim_count = 1,
                                              .bind = bind,
                                              .bind_count = bind_count};
    out->update = project_update(p->recipe);
    out->options = (struct compile_options){.gradients = true,
                                            .accumulate = t->accumulate > 1,
                                            .update = t->accumulate > 1 ? NULL : &out->update};
}

bool project_fit(struct project *p, struct plan **plans, uint32_t count)
{
    struct gradient_program program;
    project_gradient_program(p, &program);
    struct budget budget = {.s = &p->s,
                            .request = &program.request,
                            .options = &program.options,
                            .plans = plans,
                            .plan_count = count};
    return budget_fit(&budget, p->recipe->memory, p->recipe->memory_span);
}

uint32_t project_training_plans(struct project *p, struct plan *plans[2])
{
    struct gradient_program program;
    project_gradient_program(p, &program);
    uint32_t count =
        session_training(&p->s, &program.request, &program.options, &program.update, plans);
    for (uint32_t i = 0; i < count; i++)
        remember(p, plans[i]);
    if (count && (!plan_output(plans[0], "loss") || !plan_input(plans[0], "x0"))) {
        diag_error(p->diags, FAULT_CONFIG, (struct span){0},
                   "the program `train` must take `x0` and minimise `loss`");
        return 0;
    }
    return count;
}

const struct chain *project_chain(const struct project *p)
{
    const struct model *m = p->s.model;
    return m->process_count ? &m->processes[0].chain : NULL;
}

bool project_raw(const struct project *p)
{
    return project_chain(p) && project_chain(p)->raw;
}

bool project_time_free(const struct project *p)
{
    const struct section *trunk = section_find(&p->s.model->blocks, "trunk");
    const struct yaml *in = trunk ? yaml_get(trunk->body, "in") : NULL;
    return in && !yaml_get(in, "sigma");
}

/* --- state -------------------------------------------------------------------------------- */

static bool declare_cursor(struct project *p)
{
    struct state_row row = {.name = "cursor/step",
                            .class = STATE_CURSOR,
                            .type = {.dtype = DT_I64, .rank = 1, .dim = {{1, 0}}},
                            .init = INIT_ZERO};
    struct model *m = p->s.model;
    return state_declare(&m->states, m->arena, m->diags, &row, &p->cursor);
}

/* The rows that training makes are rows of the model, also of programs that read fewer: those of a
 * class, where none is told. Without a program `train` there is nothing to add. */
static bool declare_trained(struct project *p)
{
    if (!section_find(&p->s.model->programs, "train"))
        return true;
    struct named_size dims[] = {{"batch", 1}};
    struct elaborate_request q = {.program = "train", .dims = dims, .dim_count = 1};
    return elaborate(p->s.model, &q) != NULL;
}

bool project_state(struct project *p, bool cursor)
{
    if (!declare_trained(p) || !declare_cursor(p))
        return false;
    if (!session_state(&p->s, p->plans, p->plan_count, cursor ? p->cursor : NO_ROW))
        return false;
    p->step = (int64_t *)(void *)p->s.state.row[p->cursor];
    return true;
}

char *project_checkpoint(struct diags *diags, struct arena *arena, const char *run,
                         const char *which)
{
    bool named = strcmp(which, "last") == 0 || strcmp(which, "best") == 0;
    if (!named)
        return arena_strdup(arena, which);
    char *path = arena_printf(arena, "%s/%s.safetensors", run, which);
    if (access(path, F_OK) == 0)
        return path;
    diag_error(diags, FAULT_DATA, (struct span){0}, "%s has no %s checkpoint yet", run, which);
    if (strcmp(which, "last") == 0)
        diag_hint(diags, "it is saved every train.checkpoint_every updates, at the end, and "
                         "when the training is stopped");
    else
        diag_hint(diags, "it is saved where held-out data is evaluated: every "
                         "train.eval_every updates");
    return NULL;
}

bool project_weights(struct project *p, const char *run, const char *which, char **path)
{
    *path = project_checkpoint(p->diags, p->arena, run, which);
    if (!*path)
        return false;
    struct tensor_file *file = tensor_file_open(p->diags, p->arena, *path);
    bool good = file && state_load(p->diags, &p->s.state, file, FILL_WEIGHTS);
    tensor_file_close(file);
    const struct state_row *bad = good ? state_not_finite(&p->s.state) : NULL;
    if (bad)
        diag_error(p->diags, FAULT_DATA, (struct span){0}, "%s: `%s` is not finite", *path,
                   bad->name);
    return good && !bad;
}
