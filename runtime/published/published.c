/* The families of published weights, and their tensors under the names of models. Called by `sedge
 * import` and `sedge export`. */
#include "runtime/published/published.h"
#include "graph/base/check.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AVERAGES "shadow_params."

/* A param that is read off the size of a tensor. In names # stands for a number. */
struct size {
    const char *param, *tensor;
    uint32_t axis;
    const char *config; /* the same in config.json; or NULL */
};

struct published {
    const char *name;
    const char *const *models; /* [0] has a state more than symbols, the mask; [1] none */
    const char *anchor;        /* has a row for each state: tells where the others lie */
    const char *layers;        /* there is one for each layer */
    const char *rotary;        /* its frequencies, half a head; or NULL */
    const char *const *left;   /* are no weights; NULL-terminated */
    const char *tied;          /* another name of the anchor; or NULL */
    struct size sizes[4];
    struct published_param fixed; /* of the publication; or none */
};

static const char *const buffers[] = {"rotary_emb.inv_freq", "noise.empty", NULL};
static const char *const sedd_models[] = {"sedd-absorb", "sedd-uniform"};
static const char *const mdlm_models[] = {"mdlm", NULL};
static const char *const radd_models[] = {"radd", NULL};
static const char *const gpt2_models[] = {NULL, "gpt2"};
static const char *const gpt2_left[] = {"h.#.attn.bias", "h.#.attn.masked_bias", "lm_head.weight",
                                        NULL};

#define EMBEDDING "vocab_embed.embedding"
#define NETWORK                                                                                    \
    .anchor = EMBEDDING, .layers = "blocks.#.norm1.weight", .rotary = "rotary_emb.inv_freq",       \
    .left = buffers

static const struct published families[] = {
    {.name = "gpt2",
     .models = gpt2_models,
     .anchor = "wte.weight",
     .layers = "h.#.ln_1.weight",
     .left = gpt2_left,
     .tied = "lm_head.weight",
     .sizes = {{"dim", "wte.weight", 1, "n_embd"},
               {"length", "wpe.weight", 0, "n_ctx"},
               {"positions", "wpe.weight", 0, "n_positions"}}},
    {.name = "sedd",
     .models = sedd_models,
     NETWORK,
     .sizes = {{"dim", EMBEDDING, 1, "hidden_size"},
               {"cond", "sigma_map.mlp.0.weight", 0, "cond_dim"}}},
    {.name = "mdlm",
     .models = mdlm_models,
     NETWORK,
     .sizes = {{"dim", EMBEDDING, 1, "hidden_dim"},
               {"cond", "sigma_map.mlp.0.weight", 0, "cond_dim"}},
     .fixed = {"conditioned", 0}},
    {.name = "radd",
     .models = radd_models,
     NETWORK,
     .sizes = {{"dim", EMBEDDING, 1, "hidden_size"}}},
};

#define HEAD_WIDTH 64 /* of all that was published, where a file does not say */

const struct published *published_at(uint32_t index)
{
    return index < sizeof families / sizeof *families ? &families[index] : NULL;
}

const struct published *published_find(const char *name)
{
    for (uint32_t i = 0; published_at(i); i++)
        if (strcmp(families[i].name, name) == 0)
            return &families[i];
    return NULL;
}

const struct published *published_of_model(const char *model)
{
    for (uint32_t i = 0; published_at(i); i++)
        for (int k = 0; k < 2; k++)
            if (families[i].models[k] && strcmp(families[i].models[k], model) == 0)
                return &families[i];
    return NULL;
}

const char *published_name(const struct published *family)
{
    return family->name;
}

/* --- names -------------------------------------------------------------------------------- */

/* Whether NAME is PATTERN with numbers for each #. */
static bool matches(const char *pattern, const char *name)
{
    for (; *pattern; pattern++) {
        if (*pattern != '#') {
            if (*pattern != *name++)
                return false;
            continue;
        }
        if (*name < '0' || *name > '9')
            return false;
        while (*name >= '0' && *name <= '9')
            name++;
    }
    return *name == 0;
}

static bool in_list(const char *const *patterns, const char *name)
{
    for (; *patterns; patterns++)
        if (matches(*patterns, name))
            return true;
    return false;
}

/* --- reading ------------------------------------------------------------------------------ */

struct reading {
    struct diags *diags;
    struct arena *arena;
    const struct published *family;
    const struct tensor_file *file;
    json_t *config;
    struct published_weights *out;
};

static bool fail(const struct reading *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool fail(const struct reading *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = arena_vprintf(r->arena, format, args);
    va_end(args);
    diag_error(r->diags, FAULT_DATA, (struct span){0}, "%s: %s", r->file->path, text);
    return false;
}

/* The shortest that leads to the anchor: others may lead to copies of it, such as averages. */
static bool find_prefix(struct reading *r)
{
    size_t length = strlen(r->family->anchor), best = SIZE_MAX;
    for (uint32_t i = 0; i < r->file->count; i++) {
        const char *name = r->file->entries[i].name;
        size_t n = strlen(name);
        if (n < length || strcmp(name + n - length, r->family->anchor) != 0 ||
            (n > length && name[n - length - 1] != '.') || n - length >= best)
            continue;
        best = n - length;
        r->out->prefix = arena_strndup(r->arena, name, best);
    }
    if (best != SIZE_MAX)
        return true;
    fail(r, "holds no weights of %s: it has no tensor `%s`", r->family->name, r->family->anchor);
    for (uint32_t i = 0; published_at(i); i++)
        for (uint32_t k = 0; k < r->file->count; k++) {
            const char *found = strstr(r->file->entries[k].name, families[i].anchor);
            if (found && found[strlen(families[i].anchor)] == 0) {
                diag_hint(r->diags, "by its names it is: --as %s", families[i].name);
                return false;
            }
        }
    return false;
}

static const struct tensor *get(const struct reading *r, const char *name)
{
    return tensor_file_get(r->file, arena_printf(r->arena, "%s%s", r->out->prefix, name));
}

static bool same_shape(const struct tensor *a, const struct tensor *b)
{
    return a->rank == b->rank && memcmp(a->dim, b->dim, a->rank * sizeof *a->dim) == 0;
}

/* What a model has once must be the same where the file has it twice, be it with the prefix. */
static bool check_tied(struct reading *r)
{
    const char *tied = r->family->tied;
    const struct tensor *one = get(r, r->family->anchor);
    const struct tensor *others[] = {tied ? get(r, tied) : NULL,
                                     tied ? tensor_file_get(r->file, tied) : NULL};
    for (int i = 0; i < 2; i++) {
        const struct tensor *t = others[i];
        if (t && (!same_shape(one, t) || one->dtype != t->dtype ||
                  memcmp(one->data, t->data, (size_t)tensor_size(one) * dtype_size(one->dtype))))
            return fail(r, "`%s%s` differs from `%s%s`: the model has one for both",
                        i ? "" : r->out->prefix, tied, r->out->prefix, r->family->anchor);
    }
    return true;
}

/* The number of KEY anywhere in the configuration, or -1. */
static int64_t configured(const json_t *json, const char *key)
{
    const char *name;
    json_t *value, *at = json_object_get(json, key);
    int64_t found = json_is_integer(at) ? json_integer_value(at) : -1;
    json_object_foreach((json_t *)json, name, value)
    {
        if (found < 0 && json_is_object(value))
            found = configured(value, key);
    }
    return found;
}

static bool add_param(struct reading *r, const char *name, int64_t value, const char *key)
{
    int64_t said = key ? configured(r->config, key) : -1;
    if (said >= 0 && said != value)
        return fail(r, "its tensors say that %s is %lld, and `%s` of its config.json %lld", name,
                    (long long)value, key, (long long)said);
    r->out->params[r->out->param_count++] = (struct published_param){name, value};
    return true;
}

static bool add_sizes(struct reading *r)
{
    for (const struct size *s = r->family->sizes; s->param; s++) {
        const struct tensor *t = get(r, s->tensor);
        if (!t || s->axis >= t->rank)
            return fail(r, "has no tensor `%s%s` with %u axes", r->out->prefix, s->tensor,
                        s->axis + 1);
        if (!add_param(r, s->param, t->dim[s->axis], s->config))
            return false;
    }
    int64_t layers = 0;
    for (uint32_t i = 0; i < r->file->count; i++) {
        const char *name = r->file->entries[i].name;
        size_t skip = strlen(r->out->prefix);
        layers +=
            strncmp(name, r->out->prefix, skip) == 0 && matches(r->family->layers, name + skip);
    }
    return add_param(r, "layers", layers,
                     configured(r->config, "n_layer") >= 0 ? "n_layer" : "n_blocks");
}

/* By its rotary frequencies, its config.json, or as in all that was published. */
static bool add_heads(struct reading *r)
{
    const struct tensor *t = r->family->rotary ? get(r, r->family->rotary) : NULL;
    int64_t dim = r->out->params[0].value, heads = dim / HEAD_WIDTH > 0 ? dim / HEAD_WIDTH : 1;
    const char *key = configured(r->config, "n_head") >= 0 ? "n_head" : "n_heads";
    if (t && t->rank == 1 && t->dim[0] > 0)
        heads = dim / (2 * t->dim[0]);
    else if (configured(r->config, key) > 0)
        heads = configured(r->config, key);
    return add_param(r, "heads", heads, key);
}

/* How many states there are besides the symbols tells the chain. */
static bool find_model(struct reading *r, int64_t symbols)
{
    const struct tensor *t = get(r, r->family->anchor);
    int64_t more = t->rank == 2 ? t->dim[0] - symbols : -1;
    if ((more == 0 || more == 1) && r->family->models[1 - more]) {
        r->out->model = r->family->models[1 - more];
        return add_param(r, "vocab", symbols, NULL);
    }
    fail(r, "`%s%s` has %lld rows, and the vocabulary %lld symbols", r->out->prefix,
         r->family->anchor, (long long)(t->rank ? t->dim[0] : 0), (long long)symbols);
    diag_hint(r->diags, "%s has a row for each symbol%s", r->family->name,
              !r->family->models[0]   ? ""
              : !r->family->models[1] ? " and one for the mask"
                                      : ", and absorbing chains one for the mask");
    return false;
}

/* --- tensors ------------------------------------------------------------------------------ */

/* T in single precision; itself where that is what it is. */
static struct tensor brought(struct arena *arena, const struct tensor *t)
{
    struct tensor out = *t;
    if (t->dtype != DT_F64)
        return out;
    float *to = arena_new_array(arena, float, (size_t)tensor_size(t));
    out.dtype = DT_F32;
    out.data = to;
    for (int64_t i = 0; i < tensor_size(t); i++)
        to[i] = (float)((const double *)t->data)[i];
    return out;
}

static void take_tensors(struct reading *r)
{
    struct tensor_file *to = &r->out->tensors;
    size_t skip = strlen(r->out->prefix);
    to->path = r->file->path;
    to->entries = arena_new_array(r->arena, struct tensor_entry, 2 * (size_t)r->file->count);
    for (uint32_t i = 0; i < r->file->count; i++) {
        const struct tensor_entry *e = &r->file->entries[i];
        if (strncmp(e->name, r->out->prefix, skip) != 0 || strstr(e->name, AVERAGES))
            r->out->other++;
        else if (!in_list(r->family->left, e->name + skip))
            to->entries[to->count++] =
                (struct tensor_entry){e->name + skip, brought(r->arena, &e->tensor)};
    }
}

/* Averages are a list in the order of the parameters, without names. */
static bool take_averages(struct reading *r)
{
    struct tensor_file *to = &r->out->tensors;
    uint32_t count = to->count, found = 0;
    for (uint32_t i = 0; i < r->file->count; i++) {
        const struct tensor_entry *e = &r->file->entries[i];
        const char *at = strstr(e->name, AVERAGES);
        if (!at)
            continue;
        char *end;
        unsigned long place = strtoul(at + strlen(AVERAGES), &end, 10);
        if (*end || place != found || found == count)
            return fail(r, "its averages `%s` are not those of its %u parameters", e->name, count);
        const struct tensor_entry *owner = &to->entries[found++];
        struct tensor t = brought(r->arena, &e->tensor);
        if (!same_shape(&t, &owner->tensor))
            return fail(r, "its average `%s` has another shape than `%s`", e->name, owner->name);
        to->entries[to->count++] =
            (struct tensor_entry){arena_printf(r->arena, "ema/%s", owner->name), t};
    }
    r->out->averaged = found > 0;
    r->out->other -= found;
    return found == 0 || found == count ||
           fail(r, "has averages of %u of its %u parameters", found, count);
}

bool published_read(struct diags *diags, struct arena *arena, const struct published *family,
                    const struct tensor_file *file, int64_t symbols, const char *config,
                    struct published_weights *out)
{
    struct reading r = {.diags = diags, .arena = arena, .family = family, .file = file, .out = out};
    *out = (struct published_weights){.family = family};
    r.config = config ? json_loads(config, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (config && !json_is_object(r.config)) {
        json_decref(r.config);
        fail(&r, "the config.json beside it is no JSON object");
        diag_hint(diags, "without it the shapes alone say what they can");
        return false;
    }
    bool good = find_prefix(&r) && check_tied(&r) && add_sizes(&r) && add_heads(&r) &&
                find_model(&r, symbols);
    json_decref(r.config);
    if (!good)
        return false;
    if (family->fixed.name)
        out->params[out->param_count++] = family->fixed;
    take_tensors(&r);
    return take_averages(&r);
}

/* --- writing ------------------------------------------------------------------------------ */

/* Parameters have no slash before their names. */
static bool is_parameter(const char *name)
{
    return !strchr(name, '/');
}

/* All parameters have averages, or none counts. */
static bool has_averages(struct arena *arena, const struct tensor_file *file)
{
    for (uint32_t i = 0; i < file->count; i++)
        if (is_parameter(file->entries[i].name) &&
            !tensor_file_get(file, arena_printf(arena, "ema/%s", file->entries[i].name)))
            return false;
    return true;
}

bool published_write(struct diags *diags, struct arena *arena, const struct tensor_file *checkpoint,
                     bool averaged, const char *path)
{
    static const char *const keys[] = {"format"}, *const values[] = {"pt"};
    struct tensor_entry *entries = arena_new_array(arena, struct tensor_entry, checkpoint->count);
    uint32_t count = 0;
    averaged = averaged && has_averages(arena, checkpoint);
    for (uint32_t i = 0; i < checkpoint->count; i++) {
        const struct tensor_entry *e = &checkpoint->entries[i];
        const char *from = averaged ? arena_printf(arena, "ema/%s", e->name) : e->name;
        if (is_parameter(e->name))
            entries[count++] =
                (struct tensor_entry){e->name, brought(arena, tensor_file_get(checkpoint, from))};
    }
    return tensor_file_write(diags, path, entries, count, keys, values, 1);
}
