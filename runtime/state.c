/* Maps, initialises, saves and loads the state table. Called by every command that runs a plan. */
#include "runtime/state.h"
#include "graph/base/check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static int64_t row_bytes(const struct state_row *row)
{
    return type_bytes(&row->type);
}

bool state_open(struct diags *diags, struct arena *arena, const struct state_table *table,
                const bool *used, struct state *out)
{
    int64_t total = 0;
    *out = (struct state){.table = table, .count = table->count};
    out->row = arena_new_array(arena, unsigned char *, table->count + 1);
    for (uint32_t i = 0; i < table->count; i++)
        if (!used || used[i])
            total += (row_bytes(&table->rows[i]) + 63) / 64 * 64;
    if (!region_map(diags, &out->memory, (size_t)total, "the state"))
        return false;
    int64_t at = 0;
    for (uint32_t i = 0; i < table->count; i++) {
        if (used && !used[i])
            continue;
        out->row[i] = out->memory.data + at;
        at += (row_bytes(&table->rows[i]) + 63) / 64 * 64;
    }
    return true;
}

void state_close(struct state *state)
{
    region_unmap(&state->memory);
}

/* --- initial values ----------------------------------------------------------------------- */

/* Uniform or normal numbers, each a function of the seed, the row's name and its own index. The
 * normal ones by Box and Muller from two 53-bit uniforms. */
static void fill_random(const struct state_row *row, uint64_t seed, float *out)
{
    struct random_key key = random_key(seed, "init");
    uint32_t stream = random_stream(row->name);
    int64_t n = type_count(&row->type);
    for (int64_t i = 0; i < n; i++) {
        uint32_t sequence = (uint32_t)(i >> 24), element = (uint32_t)(i & 0xffffff) * 2;
        double u = random_uniform(key, 0, stream, sequence, element);
        double value = 2 * u - 1;
        if (row->init == INIT_NORMAL) {
            double v = random_uniform(key, 0, stream, sequence, element + 1);
            value = sqrt(-2 * log1p(-u)) * cos(6.283185307179586 * v);
        }
        out[i] = (float)(row->scale * value);
    }
}

/* A copy starts as its owner does, by the owner's rule and name, whether that is mapped or not. */
static void init_row(struct state *state, uint32_t i, uint64_t seed)
{
    const struct state_row *row = &state->table->rows[i];
    float *data = (float *)state->row[i];
    if (row->init == INIT_COPY)
        row = &state->table->rows[row->owner];
    int64_t n = type_count(&row->type);
    switch (row->init) {
    case INIT_ZERO:
        memset(data, 0, (size_t)row_bytes(row));
        break;
    case INIT_ONE:
        BUG_ON(row->type.dtype != DT_F32);
        for (int64_t k = 0; k < n; k++)
            data[k] = 1;
        break;
    case INIT_UNIFORM:
    case INIT_NORMAL:
        BUG_ON(row->type.dtype != DT_F32);
        fill_random(row, seed, data);
        break;
    case INIT_COPY: /* of a copy */
        BUG_ON(true);
    }
}

void state_init(struct state *state, uint64_t seed)
{
    for (uint32_t i = 0; i < state->count; i++)
        if (state->row[i])
            init_row(state, i, seed);
}

/* --- saving ------------------------------------------------------------------------------- */

static bool is_saved(const struct state *state, uint32_t i)
{
    return state->row[i] && state->table->rows[i].class != STATE_GRADIENT;
}

static struct tensor row_tensor(const struct state *state, uint32_t i)
{
    const struct type *type = &state->table->rows[i].type;
    struct tensor t = {.dtype = type->dtype, .rank = type->rank, .data = state->row[i]};
    for (uint32_t k = 0; k < type->rank; k++)
        t.dim[k] = type->dim[k].size;
    return t;
}

bool state_save(struct diags *diags, struct arena *arena, const struct state *state,
                const char *path, const char *const *keys, const char *const *values,
                uint32_t count)
{
    struct tensor_entry *entries = arena_new_array(arena, struct tensor_entry, state->count);
    uint32_t n = 0;
    for (uint32_t i = 0; i < state->count; i++)
        if (is_saved(state, i))
            entries[n++] = (struct tensor_entry){state->table->rows[i].name, row_tensor(state, i)};
    return tensor_file_write(diags, path, entries, n, keys, values, count);
}

/* A sum, so that the order of rows in a file does not matter. */
static uint64_t digest_row(const char *name, const void *data, size_t size)
{
    uint64_t parts[2] = {hash_bytes(name, strlen(name)), hash_bytes(data, size)};
    return hash_bytes(parts, sizeof parts);
}

uint64_t state_digest(const struct state *state)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < state->count; i++)
        if (is_saved(state, i))
            sum += digest_row(state->table->rows[i].name, state->row[i],
                              (size_t)row_bytes(&state->table->rows[i]));
    return sum;
}

uint64_t state_file_digest(const struct tensor_file *file)
{
    uint64_t sum = 0;
    for (uint32_t e = 0; e < file->count; e++) {
        const struct tensor *t = &file->entries[e].tensor;
        sum += digest_row(file->entries[e].name, t->data,
                          (size_t)tensor_size(t) * dtype_size(t->dtype));
    }
    return sum;
}

/* --- loading ------------------------------------------------------------------------------ */

struct loading {
    struct diags *diags;
    struct state *state;
    const struct tensor_file *file;
    enum state_fill fill;
    bool prefixed;                /* names in the file start with param/ */
    const struct tensor **source; /* per row */
    uint32_t faults;
    char text[1024]; /* the first few, for one message */
};

static void note(struct loading *l, const char *what, const char *name)
{
    size_t at = strlen(l->text);
    if (l->faults++ < 6)
        snprintf(l->text + at, sizeof l->text - at, "%s%s %s", at ? ", " : "", what, name);
    else if (l->faults == 7)
        snprintf(l->text + at, sizeof l->text - at, ", …");
}

static const struct tensor *find_tensor(const struct loading *l, const char *name)
{
    char prefixed[600];
    if (!l->prefixed)
        return tensor_file_get(l->file, name);
    snprintf(prefixed, sizeof prefixed, "param/%s", name);
    return tensor_file_get(l->file, prefixed);
}

/* The tensor that fills a row, or NULL when it keeps what it has. */
static const struct tensor *source_of(const struct loading *l, uint32_t i, bool *needed)
{
    const struct state_row *row = &l->state->table->rows[i];
    *needed = l->fill == FILL_EXACT || row->class == STATE_PARAMETER || row->class == STATE_EMA;
    if (l->fill == FILL_EXACT)
        return tensor_file_get(l->file, row->name);
    if (row->class == STATE_PARAMETER)
        return find_tensor(l, row->name);
    if (row->class != STATE_EMA)
        return NULL;
    const struct tensor *own = tensor_file_get(l->file, row->name);
    return own ? own : find_tensor(l, row->name + strlen("ema/"));
}

static bool fits(const struct tensor *t, const struct type *type)
{
    if (t->rank != type->rank || t->dtype != type->dtype)
        return false;
    for (uint32_t k = 0; k < t->rank; k++)
        if (t->dim[k] != type->dim[k].size)
            return false;
    return true;
}

static void check_extra(struct loading *l)
{
    for (uint32_t e = 0; e < l->file->count; e++) {
        const char *name = l->file->entries[e].name;
        if (l->prefixed && strncmp(name, "param/", 6) != 0)
            continue; /* a file of vectors holds other things as well */
        const char *bare = l->prefixed ? name + 6 : name;
        if (l->fill == FILL_WEIGHTS &&
            (strncmp(bare, "adam_", 5) == 0 || strncmp(bare, "cursor/", 7) == 0))
            continue;
        if (l->fill == FILL_WEIGHTS && strncmp(bare, "ema/", 4) == 0)
            bare += 4;
        uint32_t row = state_find(l->state->table, bare);
        if (row == UINT32_MAX)
            note(l, "extra", bare);
    }
}

static bool report(struct loading *l)
{
    diag_error(l->diags, FAULT_DATA, (struct span){0},
               "%s does not fit this model: %u tensor%s: %s", l->file->path, l->faults,
               l->faults == 1 ? " differs" : "s differ", l->text);
    diag_hint(l->diags,
              "the model's params (vocab, dim, layers, …) must be those it was made with");
    return false;
}

/* A checkpoint says in its header what it should hold: a byte that changed on a disk is found. */
static bool is_intact(struct diags *diags, const struct tensor_file *file)
{
    const char *said = tensor_file_meta(file, "digest");
    char found[17];
    if (!said)
        return true;
    snprintf(found, sizeof found, "%016llx", (unsigned long long)state_file_digest(file));
    if (strcmp(said, found) == 0)
        return true;
    diag_error(diags, FAULT_DATA, (struct span){0},
               "%s is damaged: its digest is %s, and %s was written", file->path, found, said);
    return false;
}

bool state_load(struct diags *diags, struct state *state, const struct tensor_file *file,
                enum state_fill fill)
{
    struct loading l = {.diags = diags, .state = state, .file = file, .fill = fill};
    if (!is_intact(diags, file))
        return false;
    for (uint32_t e = 0; e < file->count && fill == FILL_WEIGHTS; e++)
        l.prefixed |= strncmp(file->entries[e].name, "param/", 6) == 0;
    for (uint32_t i = 0; i < state->count; i++) {
        bool needed;
        if (!is_saved(state, i))
            continue;
        const struct tensor *t = source_of(&l, i, &needed);
        const struct state_row *row = &state->table->rows[i];
        if (!t && needed)
            note(&l, "missing", row->name);
        else if (t && !fits(t, &row->type))
            note(&l, "misshapen", row->name);
    }
    check_extra(&l);
    if (l.faults)
        return report(&l);
    for (uint32_t i = 0; i < state->count; i++) {
        bool needed;
        const struct tensor *t = is_saved(state, i) ? source_of(&l, i, &needed) : NULL;
        if (t)
            memcpy(state->row[i], t->data, (size_t)row_bytes(&state->table->rows[i]));
    }
    return true;
}

const struct state_row *state_not_finite(const struct state *state)
{
    for (uint32_t i = 0; i < state->count; i++) {
        const struct state_row *row = &state->table->rows[i];
        int64_t n = state->row[i] && row->type.dtype == DT_F32 ? type_count(&row->type) : 0;
        for (int64_t k = 0; k < n; k++)
            if (!isfinite(((const float *)(const void *)state->row[i])[k]))
                return row;
    }
    return NULL;
}
