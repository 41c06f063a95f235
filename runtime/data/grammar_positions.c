/* A grammar read as tokens: the chain over positions, its stationary law, text drawn from it, and
 * the probability of a window. Called by dataset.c, evaluation and tests.
 *
 * The stationary law of the states is found by the elimination of Grassmann, Taksar and Heyman
 * (1985, "Regenerative analysis and steady state distributions for Markov chains"): it subtracts
 * nothing, so that each entry is right to a few roundings however rare the state is. */
#include "graph/base/check.h"
#include "runtime/data/grammar.h"

#include <math.h>
#include <string.h>

#define STREAM_TEXT "data/grammar"

/* --- expansion --- */

/* Words with one blank after each, and nothing else: then the language of words and the language
 * of characters are the same. */
static bool check_words(struct diags *diags, const struct grammar_arc *arc)
{
    bool word = false;
    bool good = true;
    for (const char *c = arc->say; *c; c++) {
        bool blank = *c == ' ' || (*c >= '\t' && *c <= '\r');
        good = good && (!blank || (*c == ' ' && word));
        word = !blank;
    }
    if (good && !word)
        return true;
    diag_error(diags, FAULT_CONFIG, arc->span,
               "with tokenizer: words a text is words with one space after each");
    diag_hint(diags, good ? "end it with a space: the next arc's words would run into it"
                          : "write \"the cat \", or use tokenizer: chars");
    return false;
}

/* The text to scan: with words, without the blank at the end, which decoding puts back. */
static struct symbol scanned(const struct grammar_arc *arc, enum tokenizer tokenizer)
{
    return (struct symbol){.text = arc->say,
                           .length = strlen(arc->say) - (tokenizer == TOKENIZER_WORDS)};
}

static const struct vocabulary *make_vocabulary(struct arena *arena, const struct grammar *g,
                                                enum tokenizer tokenizer)
{
    struct symbol *texts = arena_new_array(arena, struct symbol, g->arc_count);
    for (uint32_t i = 0; i < g->arc_count; i++)
        texts[i] = scanned(&g->arcs[i], tokenizer);
    return vocabulary_from_texts(arena, tokenizer, texts, g->arc_count);
}

/* Numbers the positions; *TOTAL is their count. */
static void lay_out(struct grammar *g, enum tokenizer tokenizer, uint32_t *total)
{
    *total = 0;
    for (uint32_t i = 0; i < g->arc_count; i++) {
        struct symbol text = scanned(&g->arcs[i], tokenizer);
        struct symbol symbol;
        g->arcs[i].first = *total;
        for (size_t at = 0;
             tokenizer_next(tokenizer, EDGES_CLOSED, text.text, text.length, &at, &symbol);)
            ++*total;
        g->arcs[i].length = *total - g->arcs[i].first;
    }
}

static bool find_tokens(struct diags *diags, struct grammar *g, const struct vocabulary *v)
{
    struct grammar_positions *p = &g->positions;
    for (uint32_t i = 0; i < g->arc_count; i++) {
        struct symbol text = scanned(&g->arcs[i], v->tokenizer);
        struct symbol symbol;
        uint32_t position = g->arcs[i].first;
        for (size_t at = 0;
             tokenizer_next(v->tokenizer, EDGES_CLOSED, text.text, text.length, &at, &symbol);
             position++) {
            p->arc[position] = i;
            p->token[position] = vocabulary_find(v, symbol.text, symbol.length);
            if (p->token[position] < 0) {
                diag_error(diags, FAULT_DATA, g->arcs[i].span,
                           "`%.*s` is not in the vocabulary of the run", (int)symbol.length,
                           symbol.text);
                diag_hint(diags, "the run was trained on another language");
                return false;
            }
        }
    }
    return true;
}

/* Sorts the positions by token, counting. */
static void index_tokens(struct arena *arena, struct grammar_positions *p)
{
    uint32_t size = p->vocabulary->size;
    p->token_from = arena_new_array(arena, uint32_t, (size_t)size + 1);
    p->of_token = arena_new_array(arena, uint32_t, p->count);
    for (uint32_t i = 0; i < p->count; i++)
        p->token_from[p->token[i] + 1]++;
    for (uint32_t x = 0; x < size; x++)
        p->token_from[x + 1] += p->token_from[x];
    uint32_t *next = arena_new_array(arena, uint32_t, size);
    for (uint32_t i = 0; i < p->count; i++)
        p->of_token[p->token_from[p->token[i]] + next[p->token[i]]++] = i;
}

/* --- stationary laws --- */

static void solve_visits(struct grammar *g)
{
    struct arena *scratch = arena_new();
    size_t n = g->state_count;
    double *m = arena_new_array(scratch, double, n *n);
    for (uint32_t i = 0; i < g->arc_count; i++)
        m[g->arcs[i].from * n + g->arcs[i].to] += g->arcs[i].probability;
    for (size_t k = n - 1; k > 0; k--) {
        double leave = 0;
        for (size_t j = 0; j < k; j++)
            leave += m[k * n + j];
        for (size_t i = 0; i < k; i++) {
            m[i * n + k] /= leave;
            for (size_t j = 0; j < k; j++)
                m[i * n + j] += m[i * n + k] * m[k * n + j];
        }
    }
    double sum = 0;
    for (size_t k = 0; k < n; k++) {
        double visits = k == 0;
        for (size_t i = 0; i < k; i++)
            visits += g->states[i].visits * m[i * n + k];
        g->states[k].visits = visits;
        sum += visits;
    }
    for (size_t k = 0; k < n; k++)
        g->states[k].visits /= sum;
    arena_free(scratch);
}

static void solve_positions(struct arena *arena, struct grammar *g)
{
    struct grammar_positions *p = &g->positions;
    p->stationary = arena_new_array(arena, double, p->count);
    double sum = 0;
    for (uint32_t i = 0; i < p->count; i++) {
        const struct grammar_arc *arc = &g->arcs[p->arc[i]];
        p->stationary[i] = g->states[arc->from].visits * arc->probability;
        sum += p->stationary[i];
    }
    for (uint32_t i = 0; i < p->count; i++)
        p->stationary[i] /= sum;
}

/* --- the forward algorithm --- */

/* Weights of the positions that the tokens so far may have ended in; kept sparse, because few
 * positions show the same token. */
struct forward {
    const struct grammar *grammar;
    double *weight;  /* by position, 0 where not active */
    double *next;    /* all 0 between steps */
    double *arrived; /* by state: weight of the active positions that end an arc into it */
    uint32_t *active;
    uint32_t active_count;
};

static struct forward forward_new(struct arena *arena, const struct grammar *g)
{
    return (struct forward){
        .grammar = g,
        .weight = arena_new_array(arena, double, g->positions.count),
        .next = arena_new_array(arena, double, g->positions.count),
        .arrived = arena_new_array(arena, double, g->state_count),
        .active = arena_new_array(arena, uint32_t, g->positions.count),
    };
}

static bool is_last(const struct grammar *g, uint32_t position)
{
    const struct grammar_arc *arc = &g->arcs[g->positions.arc[position]];
    return position == arc->first + arc->length - 1;
}

/* Forgets everything: no position is active, no state has been arrived at. */
static void forward_clear(struct forward *f)
{
    for (uint32_t i = 0; i < f->active_count; i++)
        f->weight[f->active[i]] = 0;
    f->active_count = 0;
    memset(f->arrived, 0, f->grammar->state_count * sizeof *f->arrived);
}

/* Divides the weights by their sum, which is returned, and finds what has arrived. */
static double forward_settle(struct forward *f)
{
    const struct grammar *g = f->grammar;
    double sum = 0;
    for (uint32_t i = 0; i < f->active_count; i++)
        sum += f->weight[f->active[i]];
    for (uint32_t i = 0; i < f->active_count; i++) {
        uint32_t position = f->active[i];
        f->weight[position] /= sum;
        if (is_last(g, position))
            f->arrived[g->arcs[g->positions.arc[position]].to] += f->weight[position];
    }
    return sum;
}

#define ANY_TOKEN (-1)

/* The positions that show TOKEN: those of `of_token` from FIRST to before END. */
static void positions_showing(const struct grammar_positions *p, int32_t token, uint32_t *first,
                              uint32_t *end)
{
    *first = token == ANY_TOKEN ? 0 : p->token_from[token];
    *end = token == ANY_TOKEN ? p->count : p->token_from[token + 1];
}

/* The first token of a window, from the stationary law. Returns its probability. */
static double forward_begin(struct forward *f, int32_t token)
{
    const struct grammar_positions *p = &f->grammar->positions;
    uint32_t first, end;
    positions_showing(p, token, &first, &end);
    forward_clear(f);
    for (uint32_t i = first; i < end; i++) {
        uint32_t position = p->of_token[i];
        f->weight[position] = p->stationary[position];
        if (f->weight[position] > 0) /* it may underflow in a grammar of extremes */
            f->active[f->active_count++] = position;
    }
    return forward_settle(f);
}

/* One token further. Returns its probability given those before; at 0 nothing stays active. */
static double forward_step(struct forward *f, int32_t token)
{
    const struct grammar *g = f->grammar;
    const struct grammar_positions *p = &g->positions;
    uint32_t first, end;
    positions_showing(p, token, &first, &end);
    for (uint32_t i = first; i < end; i++) {
        uint32_t position = p->of_token[i];
        const struct grammar_arc *arc = &g->arcs[p->arc[position]];
        f->next[position] = position == arc->first ? f->arrived[arc->from] * arc->probability
                                                   : f->weight[position - 1];
    }
    forward_clear(f);
    for (uint32_t i = first; i < end; i++) {
        uint32_t position = p->of_token[i];
        if (f->next[position] > 0) {
            f->weight[position] = f->next[position];
            f->active[f->active_count++] = position;
        }
        f->next[position] = 0;
    }
    return forward_settle(f);
}

static bool in_vocabulary(const struct grammar *g, int32_t token)
{
    return token >= 0 && (uint32_t)token < g->positions.vocabulary->size;
}

double grammar_log_likelihood(const struct grammar *g, const int32_t *tokens, const bool *given,
                              size_t count)
{
    struct arena *scratch = arena_new();
    struct forward f = forward_new(scratch, g);
    double sum = 0;
    for (size_t i = 0; i < count && sum > -INFINITY; i++) {
        bool any = given && !given[i];
        int32_t token = any ? ANY_TOKEN : tokens[i];
        double p = 0;
        if (any || in_vocabulary(g, token))
            p = i == 0 ? forward_begin(&f, token) : forward_step(&f, token);
        sum += log(p);
    }
    arena_free(scratch);
    return sum;
}

/* --- sentences --- */

static bool ends_sentence(const struct grammar *g, uint32_t position)
{
    return is_last(g, position) && g->arcs[g->positions.arc[position]].to == g->start;
}

/* How many tokens at their ends all arcs into the start share. */
static uint32_t common_end(const struct grammar *g, uint32_t *last_arc)
{
    const struct grammar_positions *p = &g->positions;
    uint32_t common = UINT32_MAX;
    for (uint32_t i = 0; i < g->arc_count; i++) {
        const struct grammar_arc *arc = &g->arcs[i];
        if (arc->to != g->start)
            continue;
        if (common == UINT32_MAX) {
            *last_arc = i;
            common = arc->length;
        }
        const struct grammar_arc *other = &g->arcs[*last_arc];
        uint32_t same = 0;
        while (same < common && same < arc->length &&
               p->token[arc->first + arc->length - 1 - same] ==
                   p->token[other->first + other->length - 1 - same])
            same++;
        common = same;
    }
    return common;
}

/* Whether END occurs nowhere but at sentence ends. */
static bool end_is_clear(const struct grammar *g)
{
    const struct grammar_positions *p = &g->positions;
    bool clear = true;
    if (p->end_length == 0) {
        for (uint32_t i = 0; i < p->count; i++)
            clear = clear && (!p->end_token[p->token[i]] || ends_sentence(g, i));
        return clear;
    }
    struct arena *scratch = arena_new();
    struct forward f = forward_new(scratch, g);
    forward_begin(&f, p->end[0]);
    for (uint32_t i = 1; i < p->end_length; i++)
        forward_step(&f, p->end[i]);
    for (uint32_t i = 0; i < f.active_count; i++)
        clear = clear && ends_sentence(g, f.active[i]);
    arena_free(scratch);
    return clear;
}

/* Words end a sentence one by one ("bird.", "itself."), characters as a text (". "). */
static void find_sentence_end(struct arena *arena, struct grammar *g)
{
    struct grammar_positions *p = &g->positions;
    uint32_t arc = 0;
    p->end_length = p->vocabulary->tokenizer == TOKENIZER_WORDS ? 0 : common_end(g, &arc);
    p->end = p->token + g->arcs[arc].first + g->arcs[arc].length - p->end_length;
    bool *marked = arena_new_array(arena, bool, p->vocabulary->size);
    for (uint32_t i = 0; i < p->count; i++)
        if (ends_sentence(g, i))
            marked[p->token[i]] = true;
    p->end_token = marked;
    p->sentences = end_is_clear(g);
}

static bool ends_at(const struct grammar_positions *p, const int32_t *tokens, size_t count)
{
    if (p->end_length == 0)
        return p->end_token[tokens[count - 1]];
    return count >= p->end_length &&
           memcmp(tokens + count - p->end_length, p->end, p->end_length * sizeof *tokens) == 0;
}

static bool accepts(struct forward *f, const int32_t *tokens, size_t count)
{
    const struct grammar *g = f->grammar;
    forward_clear(f);
    f->arrived[g->start] = 1;
    for (size_t i = 0; i < count; i++)
        if (!in_vocabulary(g, tokens[i]) || !(forward_step(f, tokens[i]) > 0))
            return false;
    return f->arrived[g->start] > 0;
}

struct sentence_count grammar_accepts_sentences(const struct grammar *g, const int32_t *tokens,
                                                size_t count)
{
    struct sentence_count result = {0};
    if (!g->positions.sentences)
        return result;
    struct arena *scratch = arena_new();
    struct forward f = forward_new(scratch, g);
    size_t begin = 0;
    bool begun = false;
    for (size_t i = 0; i < count; i++) {
        if (!in_vocabulary(g, tokens[i]) || !ends_at(&g->positions, tokens, i + 1))
            continue;
        if (begun) {
            result.total++;
            result.accepted += accepts(&f, tokens + begin, i + 1 - begin);
        }
        begun = true;
        begin = i + 1;
    }
    arena_free(scratch);
    return result;
}

/* --- making and drawing --- */

bool grammar_tokenize(struct diags *diags, struct arena *arena, struct grammar *g,
                      enum tokenizer tokenizer, const struct vocabulary *vocabulary)
{
    struct grammar_positions *p = &g->positions;
    BUG_ON(vocabulary && vocabulary->tokenizer != tokenizer);
    bool valid = true;
    if (tokenizer == TOKENIZER_WORDS)
        for (uint32_t i = 0; i < g->arc_count; i++)
            valid = check_words(diags, &g->arcs[i]) && valid;
    if (!valid)
        return false;
    p->vocabulary = vocabulary ? vocabulary : make_vocabulary(arena, g, tokenizer);
    lay_out(g, tokenizer, &p->count);
    p->token = arena_new_array(arena, int32_t, p->count);
    p->arc = arena_new_array(arena, uint32_t, p->count);
    if (!find_tokens(diags, g, p->vocabulary))
        return false;
    index_tokens(arena, p);
    solve_visits(g);
    solve_positions(arena, g);
    find_sentence_end(arena, g);
    return true;
}

/* One uniform per draw, by number. */
static double draw(struct random_key key, uint64_t number)
{
    return random_uniform(key, 0, random_stream(STREAM_TEXT), (uint32_t)(number >> 32),
                          (uint32_t)number);
}

static const struct grammar_arc *draw_arc(const struct grammar *g, uint32_t from, double u)
{
    const struct grammar_state *state = &g->states[from];
    const struct grammar_arc *arc = &g->arcs[state->first_arc];
    const struct grammar_arc *last = arc + state->arc_count - 1;
    for (; arc < last && u >= arc->probability; arc++)
        u -= arc->probability;
    return arc;
}

void grammar_generate(const struct grammar *g, struct random_key key, int32_t *out, size_t count)
{
    const struct grammar_positions *p = &g->positions;
    uint64_t number = 0;
    double u = draw(key, number++);
    uint32_t position = 0;
    for (; position + 1 < p->count && u >= p->stationary[position]; position++)
        u -= p->stationary[position];
    for (size_t i = 0; i < count; i++) {
        out[i] = p->token[position];
        if (is_last(g, position))
            position = draw_arc(g, g->arcs[p->arc[position]].to, draw(key, number++))->first;
        else
            position++;
    }
}
