/* What is given of a text before `sedge sample` draws it: known positions, allowed sets, a
 * label. */
#include "tools/classes.h"
#include "tools/sample.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool given_fault(struct sample_job *j, const char *message, const char *about,
                        const char *hint)
{
    diag_error(j->p.diags, FAULT_CONFIG, (struct span){0}, message, about);
    diag_hint(j->p.diags, "%s", hint);
    return false;
}

static bool option_number(struct sample_job *j, const char *name, double *out)
{
    const char *text = option_text(j->p.line, name);
    char *end;
    errno = 0;
    *out = strtod(text, &end);
    return (*text && !*end && !errno && *out - *out == 0) ||
           given_fault(j, "--%s is a number", name, arena_printf(j->p.arena, "it says `%s`", text));
}

/* --- templates ---------------------------------------------------------------------------- */

static bool read_text(struct sample_job *j, const char *option, const char *text, unsigned edges,
                      struct template *out)
{
    struct source source = {.name = option, .text = text, .size = strlen(text), .typed = true};
    return template_read(j->p.diags, j->p.arena, j->p.vocabulary, &source, edges, out);
}

static bool check_fits(struct sample_job *j, const struct template *text, const char *option)
{
    if (text->count <= j->p.length)
        return true;
    return given_fault(j, "%s",
                       arena_printf(j->p.arena, "%s has %u symbols, and the model has %lld", option,
                                    text->count, (long long)j->p.length),
                       "make it shorter, or train with a larger params.length");
}

static bool read_ends(struct sample_job *j)
{
    const char *prefix = option_text(j->p.line, "prefix"),
               *suffix = option_text(j->p.line, "suffix");
    struct template *text = arena_alloc(j->p.arena, sizeof *text), tail = {0};
    if (prefix && !read_text(j, "--prefix", prefix, EDGES_OPEN_AFTER, text))
        return false;
    if (suffix && !read_text(j, "--suffix", suffix, EDGES_OPEN_BEFORE, &tail))
        return false;
    struct template both = {.count = text->count + tail.count};
    if (!check_fits(j, &both, suffix ? prefix ? "--prefix with --suffix" : "--suffix" : "--prefix"))
        return false;
    if (suffix && option_given(j->p.line, "length") && j->wanted != j->p.length)
        return given_fault(j, "%s", "--suffix stands at the model's end, and --length says another",
                           "give one of the two, or write --infill");
    uint32_t free = (uint32_t)j->p.length - both.count;
    if (suffix)
        template_free(j->p.arena, text, free);
    struct template *whole = text;
    for (uint32_t i = 0; i < tail.count; i++) {
        template_free(j->p.arena, whole, 1);
        whole->places[whole->count - 1] = tail.places[i];
    }
    j->texts = whole;
    j->text_count = 1;
    return true;
}

static bool read_infill(struct sample_job *j, const char *infill)
{
    struct template *text = arena_alloc(j->p.arena, sizeof *text);
    if (!read_text(j, "--infill", infill, EDGES_OPEN_BEFORE | EDGES_OPEN_AFTER, text) ||
        !check_fits(j, text, "--infill"))
        return false;
    if (!text->count)
        return given_fault(j, "%s", "--infill is empty",
                           "write --infill 'best of {mask:12} times'");
    j->texts = text;
    j->text_count = 1;
    if (!option_given(j->p.line, "length"))
        j->wanted = text->count;
    return true;
}

/* Each line is a template; the longest says how much is printed. */
static bool read_file(struct sample_job *j, const char *path)
{
    struct source source;
    if (!source_open(j->p.diags, path, &source))
        return false;
    size_t left = source.size; /* the text may hold a NUL, which its reader says */
    char *all = arena_alloc(j->p.arena, left + 1);
    memcpy(all, source.text, left);
    source_close(&source);
    uint32_t lines = 1, longest = 1;
    for (size_t i = 0; i + 1 < left; i++)
        lines += all[i] == '\n';
    j->texts = arena_new_array(j->p.arena, struct template, lines);
    for (char *line = all; j->text_count < lines; j->text_count++) {
        char *end = memchr(line, '\n', left), *next = end ? end + 1 : line + left;
        size_t size = end ? (size_t)(end - line) : left;
        left -= (size_t)(next - line);
        size -= size > 0 && line[size - 1] == '\r';
        line[size] = 0;
        struct template *text = &j->texts[j->text_count];
        struct source part = {.name = path, .text = line, .size = size, .lines = j->text_count};
        if (!template_read(j->p.diags, j->p.arena, j->p.vocabulary, &part,
                           EDGES_OPEN_BEFORE | EDGES_OPEN_AFTER, text) ||
            !check_fits(j, text, arena_printf(j->p.arena, "%s, line %u", path, part.lines + 1)))
            return false;
        longest = text->count > longest ? text->count : longest;
        line = next;
    }
    if (!option_given(j->p.line, "length"))
        j->wanted = longest;
    if (!option_given(j->p.line, "count"))
        j->p.recipe->sample.count = lines;
    return true;
}

/* A text that is given is printed whole. */
static bool check_shown(struct sample_job *j, const struct template *text)
{
    if (text->count <= j->wanted)
        return true;
    return given_fault(j, "%s",
                       arena_printf(j->p.arena,
                                    "sample.length is %lld, and the text given has %u symbols",
                                    (long long)j->wanted, text->count),
                       "make the length larger, or leave it out");
}

static bool read_texts(struct sample_job *j)
{
    const char *infill = option_text(j->p.line, "infill");
    const char *file = option_text(j->p.line, "template");
    bool ends = option_given(j->p.line, "prefix") || option_given(j->p.line, "suffix");
    if ((infill != NULL) + (file != NULL) + ends > 1)
        return given_fault(j, "%s",
                           "--infill, --template and --prefix with --suffix exclude "
                           "each other",
                           "one template can say all: --infill 'start {mask:8} end'");
    bool good = infill ? read_infill(j, infill) : file ? read_file(j, file) : !ends || read_ends(j);
    for (uint32_t i = 0; good && i < j->text_count; i++) {
        j->sets |= template_has_sets(&j->texts[i]);
        good = check_shown(j, &j->texts[i]);
    }
    return good;
}

/* --- length ------------------------------------------------------------------------------- */

int64_t sample_context(const struct sample_job *j)
{
    int64_t context = j->p.recipe->sample.context;
    return context ? context : j->p.length / 2;
}

int64_t sample_block(const struct sample_job *j)
{
    int64_t block = j->p.recipe->sample.block;
    return block ? block : j->p.length - sample_context(j);
}

static bool read_length(struct sample_job *j)
{
    const char *stop = option_text(j->p.line, "stop");
    j->stop = stop ? vocabulary_find(j->p.vocabulary, stop, strlen(stop)) : -1;
    if (stop && j->stop < 0)
        return given_fault(j, "--stop: the vocabulary has no symbol `%s`", stop,
                           "vocabulary.json of the run lists them");
    j->wanted = j->p.recipe->sample.length ? j->p.recipe->sample.length : j->p.length;
    if (j->wanted <= j->p.length)
        return true;
    if (sample_context(j) >= j->p.length)
        return given_fault(j, "%s",
                           arena_printf(j->p.arena,
                                        "sample.context %lld leaves none of the model's %lld "
                                        "symbols to draw",
                                        (long long)sample_context(j), (long long)j->p.length),
                           "beyond the model's length, each block is drawn after so much context");
    if (sample_context(j) < 1 || sample_context(j) + sample_block(j) > j->p.length)
        return given_fault(
            j, "%s",
            arena_printf(j->p.arena,
                         "sample.context %lld and sample.block %lld do not fit into the "
                         "model's %lld symbols",
                         (long long)sample_context(j), (long long)sample_block(j),
                         (long long)j->p.length),
            "beyond the model's length, each block is drawn after so much context");
    return true;
}

/* --- label and guidance ------------------------------------------------------------------- */

static bool read_label(struct sample_job *j)
{
    const char *text = option_text(j->p.line, "label");
    int32_t label;
    j->gamma = 1;
    if (option_given(j->p.line, "gamma") && !option_number(j, "gamma", &j->gamma))
        return false;
    if (!text)
        return true;
    if (!class_find(&j->p, "--label", text, &label))
        return false;
    j->label = arena_new_array(j->p.arena, int32_t, j->batch);
    for (int64_t i = 0; i < j->batch; i++)
        j->label[i] = label;
    return true;
}

/* --- fields ------------------------------------------------------------------------------- */

static void add_field(struct sample_job *j, const char *name, const void *data)
{
    j->names[j->field_count] = name;
    j->fields[j->field_count++] = (struct loop_field){name, data};
}

static void make_fields(struct sample_job *j)
{
    int64_t places = j->batch * j->p.length;
    if (j->held) {
        j->fixed = arena_alloc(j->p.arena, (size_t)places);
        j->known = arena_new_array(j->p.arena, int32_t, places);
        add_field(j, "fixed", j->fixed);
        add_field(j, "known", j->known);
    }
    if (j->sets) {
        j->allowed = arena_alloc(j->p.arena, (size_t)(places * j->states));
        add_field(j, "allowed", j->allowed);
    }
    if (j->label)
        add_field(j, "label", j->label);
    if (option_given(j->p.line, "gamma"))
        add_field(j, "gamma", &j->gamma);
    const struct model *m = j->p.s.model;
    j->overlay = (struct loop_overlay){.fixed = j->fixed,
                                       .known = j->known,
                                       .allowed = j->allowed,
                                       .length = j->p.length,
                                       .states = j->states,
                                       .mask = m->process_count ? m->processes[0].chain.mask : -1};
}

bool sample_read_given(struct sample_job *j)
{
    const struct param *states = model_param(j->p.s.model, "states");
    j->states = states ? states->value.i : j->p.vocabulary->size;
    if (!read_length(j) || !read_texts(j))
        return false;
    const struct sample_recipe *q = &j->p.recipe->sample;
    j->batch = q->batch < q->count ? q->batch : q->count;
    if (!read_label(j))
        return false;
    j->held = j->text_count > 0 || j->wanted > j->p.length;
    j->out = arena_new_array(j->p.arena, int32_t, j->batch * j->wanted);
    make_fields(j);
    return true;
}

/* --- one round ---------------------------------------------------------------------------- */

static void fill_place(struct sample_job *j, int64_t at, const struct template_place *place)
{
    j->fixed[at] = place->token >= 0;
    j->known[at] = place->token >= 0 ? place->token : 0;
    if (!j->sets || !place->allowed)
        return;
    /* The mask is no text: a position may pass through it. Tokens that no symbol has are none. */
    uint8_t *allowed = j->allowed + at * j->states;
    int32_t mask = j->overlay.mask;
    memset(allowed, 0, (size_t)j->states);
    memcpy(allowed, place->allowed, j->p.vocabulary->size);
    if (mask >= 0)
        allowed[mask] = 1;
}

void sample_fill_given(struct sample_job *j, int64_t first, int64_t round, int64_t done)
{
    int64_t length = j->p.length, context = round ? sample_context(j) : 0;
    if (!j->held)
        return;
    memset(j->fixed, 0, (size_t)(j->batch * length));
    memset(j->known, 0, (size_t)(j->batch * length) * sizeof *j->known);
    if (j->sets)
        memset(j->allowed, 1, (size_t)(j->batch * length * j->states));
    for (int64_t i = 0; i < j->count; i++) {
        const struct template *text =
            round || !j->text_count ? NULL : &j->texts[(first + i) % j->text_count];
        for (uint32_t k = 0; text && k < text->count; k++)
            fill_place(j, i * length + k, &text->places[k]);
        for (int64_t k = 0; k < context; k++) {
            j->fixed[i * length + k] = 1;
            j->known[i * length + k] = j->out[i * j->wanted + done - context + k];
        }
    }
}
