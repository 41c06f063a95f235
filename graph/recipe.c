/* Reads recipes by the table of keys. Called by the commands that train, and by `config` and
 * `explain`. */
#include "graph/recipe.h"
#include "graph/base/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define AT(field) offsetof(struct recipe, field)
#define MANY 1e15

const struct recipe_key recipe_keys[] = {
    {"model", KEY_TEXT, NULL, 0, 0, "model file, or its name among the installed ones", NULL,
     AT(model)},
    {"preset", KEY_TEXT, NULL, 0, 0, "size of the model: one of its presets", NULL, AT(preset)},
    {"memory", KEY_SIZE, "0", 0, 0,
     "what training may need in all: parameters and what belongs to them, inputs, and the arena; "
     "where that is less than it would take, values are dropped and computed twice, with the same "
     "results; 0: no limit. The process itself takes some 20 MiB besides",
     NULL, AT(memory)},
    {"data.files", KEY_TEXTS, NULL, 0, 0, "files with text or other data, or one grammar", NULL,
     AT(data.files)},
    {"data.classes", KEY_TEXTS, NULL, 0, 0,
     "a name for each of data.files, which then are classes: training tells the model which", NULL,
     AT(data.classes)},
    {"data.weights", KEY_TEXTS, NULL, 0, 0,
     "a number above 0 for each of data.files: training windows come from each as often as it "
     "says, "
     "and each holds its share out (default: the files are one text)",
     NULL, AT(data.weights)},
    {"data.format", KEY_CHOICE, "auto", 0, 0,
     "what the files hold, compressed by gzip or not: text; documents, one a line (lines), in a "
     "field of JSON lines (jsonl), as the first word of a line (smiles); sequences of letters "
     "(fasta, fastq); images (idx); ids (tokens, as `sedge tokens -o` writes, never compressed); a "
     "grammar. auto: as name and content show, else text",
     "auto text lines jsonl smiles fasta fastq idx tokens grammar", AT(data.format)},
    {"data.field", KEY_TEXT, "text", 0, 0, "of JSON lines: the field with the text", NULL,
     AT(data.field)},
    {"data.letters", KEY_CHOICE, "dna", 0, 0,
     "of FASTA and FASTQ: the alphabet (ACGT; ACGU; 20 amino acids). Small letters are capitals; a "
     "code for several letters, as N, ends a document",
     "dna rna protein", AT(data.letters)},
    {"data.levels", KEY_INT, "16", 2, 256,
     "of images: grey levels, each a digit (0 to 9, then a to z for up to 36); or 256, which are "
     "bytes (tokenizer: bytes)",
     NULL, AT(data.levels)},
    {"data.separator", KEY_TEXT, NULL, 0, 0,
     "the symbol that ends each document; none: nothing does (default: a line's end, "
     "<|endoftext|> of gpt2 or [SEP] of bert for lines, jsonl and smiles; else none)",
     NULL, AT(data.separator)},
    {"data.documents", KEY_CHOICE, "auto", 0, 0,
     "joined: one text, and windows lie across documents; apart: each is cut by itself, and where "
     "a "
     "separator ends it, padding fills its last window up, which counts neither in the loss nor in "
     "the bound (else what is short is left out). auto: apart for smiles, fasta, fastq and idx",
     "auto joined apart", AT(data.documents)},
    {"data.windows", KEY_CHOICE, "random", 0, 0,
     "training windows: begin anywhere (random); or follow each other without overlap (chunked) or "
     "every data.stride tokens (sliding), each once an epoch, in an order that seed and epoch "
     "decide. Held-out windows follow each other; where they slide, what a window shows again is "
     "given to it",
     "random chunked sliding", AT(data.windows)},
    {"data.stride", KEY_INT, "0", 0, 1 << 20, "tokens between sliding windows; 0: half a window",
     NULL, AT(data.stride)},
    {"data.tokenizer", KEY_CHOICE, NULL, 0, 0,
     "how text becomes tokens (default: words for a grammar, else chars); gpt2:DIR: byte-level BPE "
     "by the vocab.bpe and encoder.json in a folder, or its tokenizer.json; bert:DIR: WordPiece by "
     "its "
     "vocab.txt, in lower case without accents (bert-cased:DIR: as written), which loses blanks",
     "chars bytes words gpt2:DIR bert:DIR bert-cased:DIR", AT(data.tokenizer)},
    {"data.valid", KEY_SHARE_OR_FILE, "0.1", 0, 0.9,
     "share of the text that is held out, from its end; or a file with the held-out text", NULL,
     AT(data.valid)},
    {"data.split", KEY_CHOICE, "end", 0, 0,
     "how a share is held out: the end of the text, or documents, chosen by a hash of what each "
     "says, so that the same one, or the other strand of it, is never on both sides",
     "end documents", AT(data.split)},
    {"data.cache", KEY_TEXT, "auto", 0, 0,
     "folder where tokens are kept, so that a text is encoded once and mapped from then on; auto: "
     "for data from 16 MiB on, sedge/ in $XDG_CACHE_HOME or ~/.cache; off: nowhere",
     NULL, AT(data.cache)},
    {"train.steps", KEY_INT, "5000", 0, 4e9, "updates; 0: no limit, train.minutes says when", NULL,
     AT(train.steps)},
    {"train.minutes", KEY_REAL, "0", 0, MANY, "stop after so long; 0: no limit", NULL,
     AT(train.minutes)},
    {"train.batch", KEY_INT, "16", 1, 1e6, "sequences at once", NULL, AT(train.batch)},
    {"train.accumulate", KEY_INT, "1", 1, 1e6, "batches added up before an update", NULL,
     AT(train.accumulate)},
    {"train.optimizer", KEY_CHOICE, "adamw", 0, 0, "how parameters are updated", "adamw",
     AT(train.optimizer)},
    {"train.lr", KEY_REAL, "3.0e-4", 0, 10, "learning rate at its highest", NULL, AT(train.lr)},
    {"train.betas", KEY_PAIR, "[0.9, 0.999]", 0, 0.9999999,
     "AdamW: how slowly the averages of gradient and square follow", NULL, AT(train.betas)},
    {"train.eps", KEY_REAL, "1.0e-8", 0, 1, "AdamW: added to the root of the square", NULL,
     AT(train.eps)},
    {"train.weight_decay", KEY_REAL, "0", 0, 10, "AdamW: decoupled decay, times the learning rate",
     NULL, AT(train.weight_decay)},
    {"train.warmup", KEY_INT, "100", 0, MANY, "steps until the learning rate is at its highest",
     NULL, AT(train.warmup)},
    {"train.schedule", KEY_CHOICE, "constant", 0, 0,
     "learning rate after the warm-up: constant, or down to 0 at the end", "constant cosine linear",
     AT(train.schedule)},
    {"train.clip", KEY_REAL, "1", 0, MANY, "largest global norm of the gradient; 0: any", NULL,
     AT(train.clip)},
    {"train.ema", KEY_REAL, "0.999", 0, 0.9999999,
     "decay of the average of the parameters that samples and bounds read", NULL, AT(train.ema)},
    {"train.eval_every", KEY_INT, "250", 0, MANY, "steps between validations; 0: none", NULL,
     AT(train.eval_every)},
    {"train.checkpoint_every", KEY_INT, "250", 1, MANY, "steps between checkpoints", NULL,
     AT(train.checkpoint_every)},
    {"train.keep", KEY_INT, "3", 1, 1e6, "how many numbered checkpoints stay", NULL,
     AT(train.keep)},
    {"train.seed", KEY_INT, "1", 0, MANY, "of initial weights, data order, noise and dropout", NULL,
     AT(train.seed)},
    {"eval.batch", KEY_INT, "16", 1, 1e6, "sequences at once", NULL, AT(eval.batch)},
    {"eval.sequences", KEY_INT, "512", 2, MANY, "held-out windows; fewer if there are fewer", NULL,
     AT(eval.sequences)},
    {"eval.times", KEY_INT, "8", 2, 1e6,
     "noise times a sequence and replicate: one in each of so many equal parts of [t_min, 1]", NULL,
     AT(eval.times)},
    {"eval.estimator", KEY_CHOICE, "stratified", 0, 0, "how the bound is estimated",
     "stratified quadrature random exact-k published", AT(eval.estimator)},
    {"eval.given", KEY_TEXT, NULL, 0, 0,
     "positions that are known: prefix:N, every:K, but-one (all but one, which moves from window "
     "to "
     "window), or a file of 0s and 1s; the bound of the rest",
     NULL, AT(eval.given)},
    {"eval.label", KEY_TEXT, NULL, 0, 0,
     "the class that the model is told: none, or one for all windows (default: of each its own)",
     NULL, AT(eval.label)},
    {"sample.count", KEY_INT, "4", 1, 1e9, "sequences", NULL, AT(sample.count)},
    {"sample.batch", KEY_INT, "4", 1, 1e6, "sequences at once", NULL, AT(sample.batch)},
    {"sample.sampler", KEY_TEXT, NULL, 0, 0,
     "loop of the model that samples (default: tweedie, or its first)", NULL, AT(sample.sampler)},
    {"sample.steps", KEY_INT, "0", 0, 1e7, "steps of the time grid; 0: as the loop says", NULL,
     AT(sample.steps)},
    {"sample.seed", KEY_INT, "1", 0, MANY, "of the draws", NULL, AT(sample.seed)},
    {"sample.grid", KEY_TEXTS, NULL, 0, 0,
     "times of the steps in place of the loop's: falling numbers, a file of them, or a spacing: "
     "uniform, log, cosine, quadratic",
     NULL, AT(sample.grid)},
    {"sample.length", KEY_INT, "0", 0, 1e9,
     "symbols of a sequence; 0: the model's length; beyond it, block by block", NULL,
     AT(sample.length)},
    {"sample.context", KEY_INT, "0", 0, 1e9,
     "beyond the model's length: symbols that a block sees before it; 0: half of the length", NULL,
     AT(sample.context)},
    {"sample.block", KEY_INT, "0", 0, 1e9,
     "beyond the model's length: symbols drawn at once; 0: all that the context leaves", NULL,
     AT(sample.block)},
};
const uint32_t recipe_key_count = sizeof recipe_keys / sizeof *recipe_keys;

/* --- keys --------------------------------------------------------------------------------- */

const struct recipe_key *recipe_key_find(const char *name)
{
    for (uint32_t i = 0; i < recipe_key_count; i++)
        if (strcmp(recipe_keys[i].name, name) == 0)
            return &recipe_keys[i];
    return NULL;
}

bool recipe_typed(const struct recipe *recipe, const char *name)
{
    const struct recipe_key *key = recipe_key_find(name);
    BUG_ON(!key);
    return recipe->sources[key - recipe_keys].layer == LAYER_COMMAND;
}

const char *recipe_key_nearest(const char *name)
{
    const char *names[sizeof recipe_keys / sizeof *recipe_keys];
    for (uint32_t i = 0; i < recipe_key_count; i++)
        names[i] = recipe_keys[i].name;
    return diag_nearest(name, names, recipe_key_count);
}

const char *recipe_key_ending(const char *name)
{
    for (uint32_t i = 0; i < recipe_key_count; i++) {
        const char *dot = strrchr(recipe_keys[i].name, '.');
        if (dot && strcmp(dot + 1, name) == 0)
            return recipe_keys[i].name;
    }
    return NULL;
}

struct reading {
    struct arena *arena;
    struct diags *diags;
    struct recipe *recipe;
};

static bool key_error(struct reading *r, const struct recipe_key *k, struct span span,
                      const char *what)
{
    diag_error(r->diags, FAULT_CONFIG, span, "`%s` %s", k->name, what);
    return false;
}

static bool read_real(struct reading *r, const struct recipe_key *k, const struct yaml *value,
                      double *out)
{
    if (value->kind != YAML_SCALAR || !yaml_real(value, out))
        return key_error(r, k, value->span, "must be a number");
    if (*out < k->low || *out > k->high)
        return key_error(r, k, value->span,
                         arena_printf(r->arena, "must lie between %.9g and %.9g", k->low, k->high));
    return true;
}

static bool read_int(struct reading *r, const struct recipe_key *k, const struct yaml *value,
                     int64_t *out)
{
    if (value->kind != YAML_SCALAR || !yaml_int(value, out))
        return key_error(r, k, value->span, "must be a whole number");
    if ((double)*out < k->low || (double)*out > k->high)
        return key_error(r, k, value->span,
                         arena_printf(r->arena, "must lie between %.0f and %.0f", k->low, k->high));
    return true;
}

static bool read_size(struct reading *r, const struct recipe_key *k, const struct yaml *value,
                      int64_t *out)
{
    if (value->kind == YAML_SCALAR && yaml_size(value, out))
        return true;
    return key_error(r, k, value->span, "must be a size, such as 400MiB, 2GiB, 1.5GB, or bytes");
}

bool recipe_memory(struct diags *diags, struct arena *arena, const struct yaml *value, int64_t *out)
{
    struct reading r = {.arena = arena, .diags = diags};
    return read_size(&r, recipe_key_find("memory"), value, out);
}

static bool read_text(struct reading *r, const struct recipe_key *k, const struct yaml *value,
                      const char **out)
{
    if (value->kind != YAML_SCALAR || !value->text[0])
        return key_error(r, k, value->span, "must be a text");
    *out = value->text;
    return true;
}

static bool read_choice(struct reading *r, const struct recipe_key *k, const struct yaml *value,
                        const char **out)
{
    if (!read_text(r, k, value, out))
        return false;
    for (const char *at = k->choices; at; at = strchr(at, ' ')) {
        at += *at == ' ';
        size_t n = strcspn(at, " "), word = strcspn(at, ": ");
        if (word < n ? strncmp(at, *out, word + 1) == 0 && (*out)[word + 1]
                     : strncmp(at, *out, n) == 0 && !(*out)[n])
            return true;
    }
    return key_error(r, k, value->span, arena_printf(r->arena, "is one of: %s", k->choices));
}

static bool read_texts(struct reading *r, const struct recipe_key *k, const struct yaml *value,
                       struct texts *out)
{
    uint32_t n = value->kind == YAML_LIST ? value->count : 1;
    if (n == 0)
        return key_error(r, k, value->span, "is empty");
    out->items = arena_new_array(r->arena, const char *, n);
    out->count = n;
    for (uint32_t i = 0; i < n; i++)
        if (!read_text(r, k, value->kind == YAML_LIST ? value->items[i] : value, &out->items[i]))
            return false;
    return true;
}

static bool read_pair(struct reading *r, const struct recipe_key *k, const struct yaml *value,
                      double *out)
{
    if (value->kind != YAML_LIST || value->count != 2)
        return key_error(r, k, value->span, "must be a list of two numbers");
    return read_real(r, k, value->items[0], &out[0]) && read_real(r, k, value->items[1], &out[1]);
}

static bool read_share(struct reading *r, const struct recipe_key *k, const struct yaml *value)
{
    double share;
    if (value->kind == YAML_SCALAR && !value->quoted && yaml_real(value, &share))
        return read_real(r, k, value, &r->recipe->data.valid);
    return read_text(r, k, value, &r->recipe->data.valid_file);
}

static bool read_key(struct reading *r, uint32_t index, const struct yaml *value, enum layer layer)
{
    const struct recipe_key *k = &recipe_keys[index];
    void *at = (char *)r->recipe + k->offset;
    bool good = false;
    switch (k->kind) {
    case KEY_TEXT:
        good = read_text(r, k, value, at);
        break;
    case KEY_INT:
        good = read_int(r, k, value, at);
        break;
    case KEY_REAL:
        good = read_real(r, k, value, at);
        break;
    case KEY_TEXTS:
        good = read_texts(r, k, value, at);
        break;
    case KEY_PAIR:
        good = read_pair(r, k, value, at);
        break;
    case KEY_CHOICE:
        good = read_choice(r, k, value, at);
        break;
    case KEY_SHARE_OR_FILE:
        good = read_share(r, k, value);
        break;
    case KEY_SIZE:
        good = read_size(r, k, value, at);
        break;
    }
    r->recipe->sources[index] = (struct key_source){layer, value->span, value};
    return good;
}

/* --- settings of the model ---------------------------------------------------------------- */

static void add_setting(struct reading *r, const char *key, const struct yaml *value,
                        enum layer layer)
{
    struct recipe *q = r->recipe;
    q->settings = arena_grow(r->arena, q->settings, q->setting_count, &q->setting_capacity,
                             sizeof *q->settings);
    q->settings[q->setting_count++] = (struct setting){key, value, layer};
}

void recipe_set_param(struct recipe *recipe, struct arena *arena, const char *key,
                      const char *value)
{
    struct reading r = {.arena = arena, .recipe = recipe};
    struct yaml *scalar = arena_alloc(arena, sizeof *scalar);
    scalar->kind = YAML_SCALAR;
    scalar->text = arena_strdup(arena, value);
    add_setting(&r, key, scalar, LAYER_DATA);
}

/* --- the document ------------------------------------------------------------------------- */

static const char *const sections[] = {"params", "process", "data", "train", "eval", "sample"};
#define SECTION_COUNT (sizeof sections / sizeof *sections)

static void unknown_key(struct reading *r, const char *name, struct span span)
{
    diag_error(r->diags, FAULT_CONFIG, span, "a recipe has no key `%s`", name);
    const char *near = recipe_key_nearest(name);
    if (!near)
        near = diag_nearest(name, sections, SECTION_COUNT);
    if (near)
        diag_hint(r->diags, "did you mean `%s`?", near);
}

/* One key by its dotted path. */
static void set_path(struct reading *r, const char *path, struct span span,
                     const struct yaml *value, enum layer layer)
{
    if (strncmp(path, "params.", 7) == 0) {
        add_setting(r, path + 7, value, layer);
        return;
    }
    if (strncmp(path, "process.", 8) == 0) {
        add_setting(r, path, value, layer);
        return;
    }
    for (uint32_t i = 0; i < recipe_key_count; i++) {
        if (strcmp(recipe_keys[i].name, path) == 0) {
            read_key(r, i, value, layer);
            return;
        }
    }
    if (layer == LAYER_COMMAND && !strchr(path, '.'))
        add_setting(r, path, value, layer); /* a param by its bare name; the model decides */
    else
        unknown_key(r, path, span);
}

static bool is_section(const char *name)
{
    for (size_t i = 0; i < SECTION_COUNT; i++)
        if (strcmp(sections[i], name) == 0)
            return true;
    return false;
}

static void read_root(struct reading *r, const struct yaml *root)
{
    for (uint32_t i = 0; i < root->count; i++) {
        const char *name = root->keys[i]->text;
        const struct yaml *value = root->items[i];
        if (strcmp(name, "sedge") == 0)
            continue;
        if (strcmp(name, "doc") == 0) {
            r->recipe->doc = value->kind == YAML_SCALAR ? value->text : NULL;
            continue;
        }
        if (!is_section(name)) {
            set_path(r, name, root->keys[i]->span, value, LAYER_RECIPE);
            continue;
        }
        if (!yaml_expect(r->diags, value, YAML_MAP, name))
            continue;
        for (uint32_t k = 0; k < value->count; k++)
            set_path(r, arena_printf(r->arena, "%s.%s", name, value->keys[k]->text),
                     value->keys[k]->span, value->items[k], LAYER_RECIPE);
    }
}

static bool check_root(struct reading *r, const struct yaml *root)
{
    struct diags *d = r->diags;
    if (!yaml_expect(d, root, YAML_MAP, "a recipe"))
        return false;
    if (yaml_get(root, "programs") || yaml_get(root, "blocks")) {
        diag_error(d, FAULT_CONFIG, root->span, "this is a model, not a recipe");
        diag_hint(d, "a recipe names its model with `model:`; `sedge new text` writes one");
        return false;
    }
    if (yaml_get(root, "grammar")) {
        diag_error(d, FAULT_CONFIG, root->span, "this is a grammar, not a recipe");
        diag_hint(d, "give it as data: sedge train quickstart data.files=FILE");
        return false;
    }
    const struct yaml *version = yaml_get(root, "sedge");
    if (!version || version->kind != YAML_SCALAR || strcmp(version->text, "1") != 0) {
        diag_error(d, FAULT_CONFIG, version ? version->span : root->span,
                   "a recipe starts with the line `sedge: 1`");
        return false;
    }
    return true;
}

static void read_defaults(struct reading *r)
{
    for (uint32_t i = 0; i < recipe_key_count; i++) {
        const char *text = recipe_keys[i].value;
        if (!text)
            continue;
        struct yaml *value = yaml_read_text(r->diags, r->arena, "default", text, strlen(text));
        BUG_ON(!value || !read_key(r, i, value, LAYER_DEFAULT));
        r->recipe->sources[i].span = (struct span){0};
    }
}

/* LIST has an entry for each file, and each file holds out a share of its own. */
static void check_each_file(struct reading *r, const struct texts *list, const char *key,
                            const char *what)
{
    const struct data_recipe *d = &r->recipe->data;
    struct span files = r->recipe->files_span;
    if (list->count != d->files.count)
        diag_error(r->diags, FAULT_CONFIG, files, "%s has %u %s, and data.files %u files", key,
                   list->count, what, d->files.count);
    if (d->valid_file)
        diag_error(r->diags, FAULT_CONFIG, files,
                   "with %s, data.valid is a share, held out from each file", key);
}

static void check_classes(struct reading *r)
{
    const struct data_recipe *d = &r->recipe->data;
    struct span files = r->recipe->files_span;
    check_each_file(r, &d->classes, "data.classes", "names");
    for (uint32_t i = 0; i < d->classes.count; i++)
        for (uint32_t k = 0; k < i; k++)
            if (strcmp(d->classes.items[i], d->classes.items[k]) == 0)
                diag_error(r->diags, FAULT_CONFIG, files, "data.classes names `%s` twice",
                           d->classes.items[i]);
}

static void check_weights(struct reading *r)
{
    const struct data_recipe *d = &r->recipe->data;
    struct span files = r->recipe->files_span;
    check_each_file(r, &d->weights, "data.weights", "numbers");
    if (d->classes.count)
        diag_error(r->diags, FAULT_CONFIG, files, "classes come alike often: no data.weights");
    for (uint32_t i = 0; i < d->weights.count; i++) {
        char *end;
        double weight = strtod(d->weights.items[i], &end);
        if (*end || !(weight > 0 && weight <= MANY))
            diag_error(r->diags, FAULT_CONFIG, files, "data.weights: `%s` is no number above 0",
                       d->weights.items[i]);
    }
}

static void check_whole(struct reading *r, const struct yaml *root)
{
    struct recipe *q = r->recipe;
    if (!q->model)
        diag_error(r->diags, FAULT_CONFIG, root->span, "the recipe names no `model:`");
    for (uint32_t i = 0; i < recipe_key_count; i++) {
        const char *name = recipe_keys[i].name;
        if (strcmp(name, "model") == 0)
            q->model_typed = q->sources[i].layer == LAYER_COMMAND;
        else if (strcmp(name, "preset") == 0)
            q->preset_span = q->sources[i].span;
        else if (strcmp(name, "memory") == 0)
            q->memory_span = q->sources[i].span;
        else if (strcmp(name, "data.files") == 0)
            q->files_span = q->sources[i].span;
        else if (strcmp(name, "train.steps") == 0 && q->sources[i].layer == LAYER_DEFAULT &&
                 q->train.minutes > 0)
            q->train.steps = 0; /* only the minutes were asked for */
    }
    if (q->data.classes.count)
        check_classes(r);
    if (q->data.weights.count)
        check_weights(r);
    if ((double)q->train.batch * (double)q->train.accumulate > 2e9)
        diag_error(r->diags, FAULT_CONFIG, root->span,
                   "`train.batch` times `train.accumulate` is above 2e9 sequences a step");
    if (q->train.steps == 0 && q->train.minutes == 0)
        diag_error(r->diags, FAULT_CONFIG, root->span,
                   "the training has no end: set `train.steps` or `train.minutes`");
}

bool override_parse(struct diags *diags, struct arena *arena, const char *argument,
                    struct override *out)
{
    const char *equals = strchr(argument, '=');
    if (!equals || equals == argument) {
        diag_error(diags, FAULT_CONFIG, (struct span){0}, "`%s` is no setting", argument);
        diag_hint(diags, "write key=value, as in train.steps=2000");
        return false;
    }
    out->key = arena_strndup(arena, argument, (size_t)(equals - argument));
    return override_option(diags, arena, out->key, arena_printf(arena, "%s=", out->key), equals + 1,
                           out);
}

bool override_option(struct diags *diags, struct arena *arena, const char *key, const char *before,
                     const char *value, struct override *out)
{
    *out = (struct override){.key = key};
    if (value[0])
        out->value = yaml_read_typed(diags, arena, key, before, value);
    else
        diag_error(diags, FAULT_CONFIG, (struct span){0}, "`%s` has no value", before);
    return out->value != NULL;
}

static const char *base_name(struct arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *from = slash ? slash + 1 : path, *dot = strrchr(from, '.');
    return dot ? arena_strndup(arena, from, (size_t)(dot - from)) : arena_strdup(arena, from);
}

struct recipe *recipe_read(struct arena *arena, struct diags *diags, const char *path,
                           const struct override *overrides, uint32_t count)
{
    struct recipe *q = arena_alloc(arena, sizeof *q);
    struct reading r = {arena, diags, q};
    uint32_t before = diags_errors(diags);
    q->path = arena_strdup(arena, path);
    q->name = base_name(arena, path);
    q->sources = arena_new_array(arena, struct key_source, recipe_key_count);
    const struct yaml *root = yaml_read_file(diags, arena, path, (struct span){0});
    if (!root || !check_root(&r, root))
        return NULL;
    read_defaults(&r);
    read_root(&r, root);
    for (uint32_t i = 0; i < count; i++)
        set_path(&r, overrides[i].key, (struct span){0}, overrides[i].value, LAYER_COMMAND);
    check_whole(&r, root);
    return diags_errors(diags) == before ? q : NULL;
}
