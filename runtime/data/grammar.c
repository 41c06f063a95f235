/* Reads a grammar file and checks that it is a language whose windows have a law. Called by
 * dataset.c and tests; grammar_positions.c does the arithmetic. */
#include "runtime/data/grammar.h"

#include "graph/base/yaml.h"

#include <math.h>
#include <string.h>

/* --- is it one --- */

/* A line that starts at column 1 with a name and a colon. */
static bool is_key(const char *line, size_t length)
{
    size_t i = 0;
    while (i < length && ((line[i] >= 'a' && line[i] <= 'z') ||
                          (line[i] >= 'A' && line[i] <= 'Z') || line[i] == '_'))
        i++;
    return i > 0 && i < length && line[i] == ':' &&
           (i + 1 == length || line[i + 1] == ' ' || line[i + 1] == '\r');
}

bool grammar_recognize(const struct source *source)
{
    static const char key[] = "grammar:";
    size_t at = 0;
    for (int lines = 0; at < source->size && lines < 200; lines++) {
        const char *line = source->text + at;
        const char *newline = memchr(line, '\n', source->size - at);
        size_t length = newline ? (size_t)(newline - line) : source->size - at;
        at += length + 1;
        bool skipped = length == 0 || strchr("#\r \t", line[0]) ||
                       (length >= 3 && memcmp(line, "---", 3) == 0);
        if (skipped)
            continue;
        if (!is_key(line, length))
            return false;
        if (length >= sizeof key - 1 && memcmp(line, key, sizeof key - 1) == 0)
            return true;
    }
    return false;
}

/* --- the tree --- */

struct reader {
    struct diags *diags;
    struct arena *arena;
    struct grammar *grammar;
    const char **names; /* of the states, for hints */
};

static void check_keys(struct reader *r, const struct yaml *map, const char *const *known,
                       size_t count, const char *where)
{
    for (uint32_t i = 0; i < map->count; i++) {
        const char *key = map->keys[i]->text;
        bool found = false;
        for (size_t k = 0; k < count; k++)
            found = found || strcmp(key, known[k]) == 0;
        if (found)
            continue;
        diag_error(r->diags, FAULT_CONFIG, map->keys[i]->span, "%s has no key `%s`", where, key);
        const char *near = diag_nearest(key, known, count);
        if (near)
            diag_hint(r->diags, "did you mean `%s`?", near);
        else
            diag_hint(r->diags, "known keys: %s, %s, %s%s%s", known[0], known[1], known[2],
                      count > 3 ? ", " : "", count > 3 ? known[3] : "");
    }
}

static bool find_state(const struct grammar *g, const char *name, uint32_t *out)
{
    for (uint32_t i = 0; i < g->state_count; i++)
        if (strcmp(g->states[i].name, name) == 0) {
            *out = i;
            return true;
        }
    return false;
}

/* The state that a scalar names. */
static bool read_state(struct reader *r, const struct yaml *node, uint32_t *out)
{
    if (node->kind != YAML_SCALAR) {
        diag_error(r->diags, FAULT_CONFIG, node->span, "expected the name of a state");
        return false;
    }
    if (find_state(r->grammar, node->text, out))
        return true;
    diag_error(r->diags, FAULT_CONFIG, node->span, "there is no state `%s`", node->text);
    const char *near = diag_nearest(node->text, r->names, r->grammar->state_count);
    if (near)
        diag_hint(r->diags, "did you mean `%s`?", near);
    else
        diag_hint(r->diags, "a state is a key of `states`, as `%s` is", r->names[0]);
    return false;
}

static bool read_weight(struct reader *r, const struct yaml *node, double *out)
{
    *out = 1;
    if (!node)
        return true;
    if (node->kind == YAML_SCALAR && yaml_real(node, out) && *out > 0)
        return true;
    diag_error(r->diags, FAULT_CONFIG, node->span,
               "a weight is a finite number above 0, and not %s", yaml_print(r->arena, node));
    diag_hint(r->diags, "weights need not sum to 1; leave out an arc that is never taken");
    return false;
}

static bool read_say(struct reader *r, const struct yaml *arc, struct grammar_arc *out)
{
    const struct yaml *say = yaml_get(arc, "say");
    if (!say) {
        diag_error(r->diags, FAULT_CONFIG, arc->span, "this arc says nothing: `say` is missing");
        diag_hint(r->diags, "- {say: \"the \", go: NAME}");
        return false;
    }
    if (say->kind != YAML_SCALAR) {
        diag_error(r->diags, FAULT_CONFIG, say->span, "`say` is a text");
        return false;
    }
    if (say->text[0] == '\0') {
        diag_error(r->diags, FAULT_CONFIG, say->span, "an arc must say something");
        diag_hint(r->diags, "join it with the arcs that lead here or go on from here");
        return false;
    }
    out->say = say->text;
    out->span = say->span;
    return true;
}

static void read_arc(struct reader *r, uint32_t from, const struct yaml *arc,
                     struct grammar_arc *out)
{
    static const char *const known[] = {"say", "go", "weight"};
    out->from = from;
    if (arc->kind != YAML_MAP) {
        diag_error(r->diags, FAULT_CONFIG, arc->span, "an arc is a map of say, go and weight");
        diag_hint(r->diags, "- {say: \"the \", go: NAME, weight: 2}");
        return;
    }
    check_keys(r, arc, known, 3, "an arc");
    read_say(r, arc, out);
    read_weight(r, yaml_get(arc, "weight"), &out->probability);
    const struct yaml *go = yaml_get(arc, "go");
    if (!go) {
        diag_error(r->diags, FAULT_CONFIG, arc->span, "this arc leads nowhere: `go` is missing");
        diag_hint(r->diags, "go: %s", r->names[r->grammar->start]);
        return;
    }
    read_state(r, go, &out->to);
}

/* Weights to probabilities, in place. */
static void normalise(struct reader *r, const struct grammar_state *state)
{
    struct grammar_arc *arcs = r->grammar->arcs + state->first_arc;
    double sum = 0;
    for (uint32_t i = 0; i < state->arc_count; i++)
        sum += arcs[i].probability;
    if (!isfinite(sum)) {
        diag_error(r->diags, FAULT_CONFIG, state->span, "the weights of `%s` have no finite sum",
                   state->name);
        diag_hint(r->diags, "divide them all by the largest");
        return;
    }
    for (uint32_t i = 0; i < state->arc_count; i++) {
        arcs[i].probability /= sum;
        if (arcs[i].probability > 0)
            continue;
        diag_error(r->diags, FAULT_CONFIG, arcs[i].span,
                   "this arc's weight vanishes beside the others of `%s`", state->name);
        diag_hint(r->diags, "give it more weight, or leave it out");
    }
}

static void read_arcs(struct reader *r, const struct yaml *states)
{
    struct grammar *g = r->grammar;
    for (uint32_t s = 0; s < g->state_count; s++)
        if (states->items[s]->kind == YAML_LIST)
            g->arc_count += states->items[s]->count;
    g->arcs = arena_new_array(r->arena, struct grammar_arc, g->arc_count);
    uint32_t next = 0;
    for (uint32_t s = 0; s < g->state_count; s++) {
        const struct yaml *list = states->items[s];
        struct grammar_state *state = &g->states[s];
        if (list->kind != YAML_LIST || list->count == 0) {
            diag_error(r->diags, FAULT_CONFIG, state->span, "the state `%s` has no list of arcs",
                       state->name);
            diag_hint(r->diags, "%s: [{say: \"the \", go: NAME}]", state->name);
            continue;
        }
        state->first_arc = next;
        state->arc_count = list->count;
        for (uint32_t i = 0; i < list->count; i++)
            read_arc(r, s, list->items[i], &g->arcs[next++]);
    }
}

static bool read_states(struct reader *r, const struct yaml *root)
{
    struct grammar *g = r->grammar;
    const struct yaml *states = yaml_get(root, "states");
    if (!states || states->kind != YAML_MAP || states->count == 0) {
        diag_error(r->diags, FAULT_CONFIG, states ? states->span : root->span,
                   "a grammar needs `states`: a map from names to lists of arcs");
        diag_hint(r->diags, "states: {S: [{say: \"hello \", go: S}]}");
        return false;
    }
    if (states->count > GRAMMAR_STATES_MAX) {
        diag_error(r->diags, FAULT_CONFIG, states->span, "%u states are more than %d",
                   states->count, GRAMMAR_STATES_MAX);
        return false;
    }
    g->state_count = states->count;
    g->states = arena_new_array(r->arena, struct grammar_state, states->count);
    r->names = arena_new_array(r->arena, const char *, states->count);
    for (uint32_t i = 0; i < states->count; i++) {
        g->states[i].name = r->names[i] = states->keys[i]->text;
        g->states[i].span = states->keys[i]->span;
    }
    const struct yaml *start = yaml_get(root, "start");
    if (!start) {
        diag_error(r->diags, FAULT_CONFIG, root->span, "a grammar needs `start`, a state");
        diag_hint(r->diags, "start: %s", r->names[0]);
        return false;
    }
    if (!read_state(r, start, &g->start))
        return false;
    read_arcs(r, states);
    return true;
}

/* --- does every state belong --- */

/* Marks what can be reached from the start, forwards or against the arcs. */
static bool *reach(struct reader *r, bool forwards)
{
    const struct grammar *g = r->grammar;
    bool *marked = arena_new_array(r->arena, bool, g->state_count);
    marked[g->start] = true;
    for (bool more = true; more;) {
        more = false;
        for (uint32_t i = 0; i < g->arc_count; i++) {
            uint32_t a = forwards ? g->arcs[i].from : g->arcs[i].to;
            uint32_t b = forwards ? g->arcs[i].to : g->arcs[i].from;
            if (marked[a] && !marked[b])
                marked[b] = more = true;
        }
    }
    return marked;
}

static void check_reach(struct reader *r)
{
    const struct grammar *g = r->grammar;
    const bool *from_start = reach(r, true);
    const bool *to_start = reach(r, false);
    const char *start = g->states[g->start].name;
    for (uint32_t s = 0; s < g->state_count; s++) {
        const struct grammar_state *state = &g->states[s];
        if (!from_start[s]) {
            diag_error(r->diags, FAULT_CONFIG, state->span,
                       "the state `%s` cannot be reached from the start `%s`", state->name, start);
            diag_hint(r->diags, "let an arc go there, or remove it");
        } else if (!to_start[s]) {
            diag_error(r->diags, FAULT_CONFIG, state->span,
                       "the state `%s` cannot reach the start `%s`", state->name, start);
            diag_hint(r->diags, "every state must lead back: else the text would in the end never "
                                "leave a part of the grammar");
        }
    }
}

static bool read_head(struct reader *r, const struct yaml *root)
{
    static const char *const known[] = {"grammar", "doc", "start", "states"};
    if (root->kind != YAML_MAP) {
        diag_error(r->diags, FAULT_CONFIG, root->span, "a grammar is a map");
        diag_hint(r->diags, "its keys: grammar: 1, doc, start, states");
        return false;
    }
    uint32_t before = diags_errors(r->diags);
    check_keys(r, root, known, 4, "a grammar");
    const struct yaml *version = yaml_get(root, "grammar");
    int64_t number;
    if (!version && diags_errors(r->diags) > before)
        return false; /* most likely that key, misspelt */
    if (!version || version->kind != YAML_SCALAR || !yaml_int(version, &number) || number != 1) {
        diag_error(r->diags, FAULT_CONFIG, version ? version->span : root->span,
                   version ? "this version of the grammar format is not known"
                           : "the format's version is missing");
        diag_hint(r->diags, "grammar: 1");
        return false;
    }
    const struct yaml *doc = yaml_get(root, "doc");
    if (doc && doc->kind != YAML_SCALAR)
        diag_error(r->diags, FAULT_CONFIG, doc->span, "`doc` is a text");
    r->grammar->doc = doc && doc->kind == YAML_SCALAR ? doc->text : "";
    return true;
}

struct grammar *grammar_read(struct diags *diags, struct arena *arena, const char *path,
                             struct span where)
{
    uint32_t before = diags_errors(diags);
    const struct yaml *root = yaml_read_file(diags, arena, path, where);
    if (!root)
        return NULL;
    struct reader r = {.diags = diags, .arena = arena};
    r.grammar = arena_alloc(arena, sizeof *r.grammar);
    r.grammar->path = arena_strdup(arena, path);
    if (!read_head(&r, root) || !read_states(&r, root) || diags_errors(diags) > before)
        return NULL;
    for (uint32_t s = 0; s < r.grammar->state_count; s++)
        normalise(&r, &r.grammar->states[s]);
    check_reach(&r);
    return diags_errors(diags) > before ? NULL : r.grammar;
}
