/* Known languages: the forward algorithm against enumeration of all paths, stationarity, text
 * drawn from them, sentences. */
#include "runtime/data/grammar.h"
#include "tests/runtime/data/fixture.h"

#include <math.h>

/* Ambiguous on purpose: the same words come from different arcs of different lengths, states
 * return to themselves, and a window may begin inside an arc. */
static const char tiny[] = "grammar: 1\n"
                           "start: S\n"
                           "states:\n"
                           "  S:\n"
                           "    - {say: \"a \", go: S, weight: 2}\n"
                           "    - {say: \"a b \", go: T}\n"
                           "    - {say: \"b b a \", go: U, weight: 0.5}\n"
                           "  T:\n"
                           "    - {say: \"b \", go: S, weight: 3}\n"
                           "    - {say: \"a b \", go: U}\n"
                           "  U:\n"
                           "    - {say: \"a a b b \", go: S}\n"
                           "    - {say: \"b \", go: T}\n";

static struct grammar *read_text(struct arena *arena, struct diags *diags, const char *text,
                                 enum tokenizer tokenizer)
{
    const char *path = fixture_text(arena, text);
    struct grammar *g = grammar_read(diags, arena, path, (struct span){0});
    bool made = g && grammar_tokenize(diags, arena, g, tokenizer, NULL);
    unlink(path);
    cr_assert(made, "%s", diags_render(diags, false));
    return g;
}

static struct grammar *read_path(struct arena *arena, struct diags *diags, const char *path,
                                 enum tokenizer tokenizer)
{
    struct grammar *g = grammar_read(diags, arena, path, (struct span){0});
    bool made = g && grammar_tokenize(diags, arena, g, tokenizer, NULL);
    cr_assert(made, "%s", diags_render(diags, false));
    return g;
}

/* --- the reference: a matrix over positions written down from the arcs, its stationary law by
 * repeated multiplication, and the probability of a window by walking every path --- */

struct reference {
    size_t count;
    double *matrix;
    double *law;
    const int32_t *token;
};

static struct reference reference_new(struct arena *arena, const struct grammar *g)
{
    size_t n = g->positions.count;
    struct reference r = {.count = n, .token = g->positions.token};
    r.matrix = arena_new_array(arena, double, n *n);
    for (uint32_t a = 0; a < g->arc_count; a++) {
        const struct grammar_arc *arc = &g->arcs[a];
        for (uint32_t k = 0; k + 1 < arc->length; k++)
            r.matrix[(arc->first + k) * n + arc->first + k + 1] = 1;
        for (uint32_t b = 0; b < g->arc_count; b++)
            if (g->arcs[b].from == arc->to)
                r.matrix[(arc->first + arc->length - 1) * n + g->arcs[b].first] =
                    g->arcs[b].probability;
    }
    r.law = arena_new_array(arena, double, n);
    double *next = arena_new_array(arena, double, n);
    for (size_t i = 0; i < n; i++)
        r.law[i] = 1.0 / (double)n;
    for (int round = 0; round < 5000; round++) {
        /* Half a step and half standing still, so that a periodic chain settles as well. */
        for (size_t j = 0; j < n; j++) {
            next[j] = r.law[j] / 2;
            for (size_t i = 0; i < n; i++)
                next[j] += r.law[i] * r.matrix[i * n + j] / 2;
        }
        memcpy(r.law, next, n * sizeof *next);
    }
    return r;
}

static double walk(const struct reference *r, size_t position, const int32_t *window, size_t count)
{
    if (r->token[position] != window[0])
        return 0;
    if (count == 1)
        return 1;
    double sum = 0;
    for (size_t j = 0; j < r->count; j++)
        if (r->matrix[position * r->count + j] > 0)
            sum += r->matrix[position * r->count + j] * walk(r, j, window + 1, count - 1);
    return sum;
}

static double enumerate(const struct reference *r, const int32_t *window, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < r->count; i++)
        sum += r->law[i] * walk(r, i, window, count);
    return sum;
}

static bool next_window(int32_t *window, size_t count, int32_t vocab)
{
    for (size_t i = 0; i < count; i++) {
        if (++window[i] < vocab)
            return true;
        window[i] = 0;
    }
    return false;
}

/* 1e-13: a dozen steps of sums and products of numbers of order 1. */
static void compare_all_windows(enum tokenizer tokenizer, uint32_t vocab, size_t longest)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    struct grammar *g = read_text(arena, diags, tiny, tokenizer);
    cr_assert_eq(g->positions.vocabulary->size, vocab);
    struct reference r = reference_new(arena, g);
    for (size_t count = 1; count <= longest; count++) {
        int32_t window[16] = {0};
        double total = 0;
        size_t possible = 0;
        do {
            double p = exp(grammar_log_likelihood(g, window, NULL, count));
            cr_assert_float_eq(p, enumerate(&r, window, count), 1e-13);
            total += p;
            possible += p > 0;
        } while (next_window(window, count, (int32_t)vocab));
        cr_assert_float_eq(total, 1, 1e-12);
        cr_assert_gt(possible, 1);
    }
    arena_free(arena);
}

Test(grammar, windows_of_words_equal_enumeration_and_sum_to_one)
{
    compare_all_windows(TOKENIZER_WORDS, 2, 9);
}

Test(grammar, windows_of_characters_equal_enumeration_and_sum_to_one)
{
    compare_all_windows(TOKENIZER_CHARS, 3, 7);
}

/* The probability of what is given, whatever stands elsewhere, is the sum over what may stand
 * there. The windows are all of four words and the gaps all sixteen. */
Test(grammar, gaps_hold_any_token)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    struct grammar *g = read_text(arena, diags, tiny, TOKENIZER_WORDS);
    struct reference r = reference_new(arena, g);
    int32_t window[4] = {0}, other[4];
    for (int gaps = 0; gaps < 16; gaps++) {
        bool given[4];
        for (int i = 0; i < 4; i++)
            given[i] = !(gaps >> i & 1);
        do {
            double sum = 0;
            for (int all = 0; all < 16; all++) {
                bool counted = true; /* each filling of the gaps once */
                for (int i = 0; i < 4; i++) {
                    other[i] = given[i] ? window[i] : all >> i & 1;
                    counted = counted && (!given[i] || !(all >> i & 1));
                }
                sum += counted ? enumerate(&r, other, 4) : 0;
            }
            cr_assert_float_eq(exp(grammar_log_likelihood(g, window, given, 4)), sum, 1e-13);
        } while (next_window(window, 4, 2));
    }
    arena_free(arena);
}

/* A language of two states small enough for pencil and paper. From S: "x " with 3/4 (back to S),
 * "y z " with 1/4 (to T); from T: "x " (to S). Arcs per round: nu(S) : nu(T) = 4 : 1. Positions:
 * x of S weighs 4 * 3/4 = 3, y and z weigh 1 each, x of T weighs 1; pi = 3/6, 1/6, 1/6, 1/6. */
Test(grammar, a_language_by_hand)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    struct grammar *g = read_text(arena, diags,
                                  "grammar: 1\nstart: S\nstates:\n"
                                  "  S: [{say: \"x \", go: S, weight: 3}, {say: \"y z \", go: T}]\n"
                                  "  T: [{say: \"x \", go: S}]\n",
                                  TOKENIZER_WORDS);
    static const int32_t zx[] = {2, 0}, xx[] = {0, 0}, xy[] = {0, 1}, yx[] = {1, 0};
    cr_assert_float_eq(grammar_log_likelihood(g, zx, NULL, 1), log(1.0 / 6), 1e-14);
    cr_assert_float_eq(grammar_log_likelihood(g, zx, NULL, 2), log(1.0 / 6), 1e-14);
    cr_assert_float_eq(grammar_log_likelihood(g, xx, NULL, 2), log(4.0 / 6 * 3 / 4), 1e-14);
    cr_assert_float_eq(grammar_log_likelihood(g, xy, NULL, 2), log(4.0 / 6 / 4), 1e-14);
    cr_assert_eq(grammar_log_likelihood(g, yx, NULL, 2), -INFINITY);
    cr_assert_eq(grammar_log_likelihood(g, yx, NULL, 0), 0);
    static const int32_t mask[] = {0, 3};
    cr_assert_eq(grammar_log_likelihood(g, mask, NULL, 2), -INFINITY);
    arena_free(arena);
}

/* Summing over the word before a window, or the word after it, must give the window again: the
 * first holds only when the law at the start is the stationary one. */
Test(grammar, the_law_of_a_window_does_not_depend_on_where_it_is)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    static const enum tokenizer levels[] = {TOKENIZER_WORDS, TOKENIZER_CHARS};
    for (int l = 0; l < 2; l++) {
        struct grammar *g = read_path(arena, diags, "models/grammars/quickstart.yaml", levels[l]);
        int32_t text[66];
        grammar_generate(g, random_key(3, "test"), text + 1, 64);
        for (size_t count = 1; count <= 64; count += 9) {
            double before = 0, after = 0;
            for (uint32_t x = 0; x < g->positions.vocabulary->size; x++) {
                text[0] = (int32_t)x;
                before += exp(grammar_log_likelihood(g, text, NULL, count + 1));
                int32_t keep = text[count + 1];
                text[count + 1] = (int32_t)x;
                after += exp(grammar_log_likelihood(g, text + 1, NULL, count + 1));
                text[count + 1] = keep;
            }
            double window = exp(grammar_log_likelihood(g, text + 1, NULL, count));
            cr_assert_float_eq(before / window, 1, 1e-11); /* 64 steps in logarithms near 100 */
            cr_assert_float_eq(after / window, 1, 1e-11);
        }
    }
    arena_free(arena);
}

/* Generated text has the law that is claimed for it: the mean log-likelihood of eight words is the
 * same wherever they are in a window, within five standard errors of the difference, and at the
 * start of a stream as well. The draws are fixed. */
Test(grammar, generated_windows_average_the_same_at_every_position)
{
    enum { STREAMS = 3000, LENGTH = 32, SPAN = 8 };
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    struct grammar *g = read_path(arena, diags, "models/grammars/quickstart.yaml", TOKENIZER_WORDS);
    double sum[LENGTH - SPAN] = {0}, square[LENGTH - SPAN] = {0};
    for (uint64_t s = 0; s < STREAMS; s++) {
        int32_t text[LENGTH];
        grammar_generate(g, random_key(s, "test"), text, LENGTH);
        double first = grammar_log_likelihood(g, text, NULL, SPAN);
        for (int k = 1; k < LENGTH - SPAN; k++) {
            double difference = grammar_log_likelihood(g, text + k, NULL, SPAN) - first;
            cr_assert(isfinite(difference));
            sum[k] += difference / STREAMS;
            square[k] += difference * difference / STREAMS;
        }
    }
    for (int k = 1; k < LENGTH - SPAN; k++)
        cr_assert_lt(fabs(sum[k]), 5 * sqrt((square[k] - sum[k] * sum[k]) / STREAMS), "at %d", k);
    arena_free(arena);
}

/* Frequencies of windows of three words in a long stream against their probabilities: five standard
 * errors of independent draws, times four because neighbouring windows are not independent. */
Test(grammar, generated_text_has_the_frequencies_of_its_law)
{
    enum { COUNT = 200000 };
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    struct grammar *g = read_text(arena, diags, tiny, TOKENIZER_WORDS);
    int32_t *text = arena_new_array(arena, int32_t, COUNT + 2);
    grammar_generate(g, random_key(11, "test"), text, COUNT + 2);
    double seen[8] = {0};
    for (int i = 0; i < COUNT; i++)
        seen[text[i] + 2 * text[i + 1] + 4 * text[i + 2]] += 1.0 / COUNT;
    int32_t window[3] = {0};
    int index = 0;
    do {
        double p = exp(grammar_log_likelihood(g, window, NULL, 3));
        cr_assert_float_eq(seen[index], p, 20 * sqrt(p * (1 - p) / COUNT) + 1e-12);
        index++;
    } while (next_window(window, 3, 2));
    arena_free(arena);
}

Test(grammar, text_is_a_function_of_the_key)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    struct grammar *g = read_path(arena, diags, "models/grammars/toy.yaml", TOKENIZER_CHARS);
    int32_t a[300], b[300], other[300];
    grammar_generate(g, random_key(1, "test"), a, 300);
    grammar_generate(g, random_key(1, "test"), b, 100);
    cr_assert_arr_eq(a, b, 100 * sizeof *a);
    grammar_generate(g, random_key(2, "test"), other, 300);
    cr_assert_neq(memcmp(a, other, sizeof a), 0);
    arena_free(arena);
}

/* --- sentences --- */

static struct sentence_count count_sentences(struct arena *arena, struct diags *diags,
                                             const struct grammar *g, const char *text)
{
    struct source source = {.name = "sample", .text = text, .size = strlen(text)};
    int32_t *ids;
    size_t count;
    cr_assert(vocabulary_encode(g->positions.vocabulary, diags, arena, &source, EDGES_CLOSED, &ids,
                                &count),
              "%s", diags_render(diags, false));
    return grammar_accepts_sentences(g, ids, count);
}

static void check_sentences(enum tokenizer tokenizer)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    struct grammar *g = read_path(arena, diags, "models/grammars/toy.yaml", tokenizer);
    cr_assert(g->positions.sentences);
    static const struct {
        const char *text;
        uint32_t total, accepted;
    } cases[] = {
        {"the map. my sister keeps the map. my brothers lose the map. my sister", 2, 2},
        {"the map. my sister keep the map. my brothers lose the map. my sister", 2, 1},
        {"map. my brothers keep the key of her house. my sister keeps the", 1, 0},
        {"map. keeps the map. my sister my sister keeps the map. my", 2, 0},
        {"my sister keeps the map. my sister", 0, 0},
        {"my sister keeps the", 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sentence_count seen = count_sentences(arena, diags, g, cases[i].text);
        cr_assert_eq(seen.total, cases[i].total, "case %zu: %u", i, seen.total);
        cr_assert_eq(seen.accepted, cases[i].accepted, "case %zu: %u", i, seen.accepted);
    }
    arena_free(arena);
}

Test(grammar, sentences_of_words)
{
    check_sentences(TOKENIZER_WORDS);
}

Test(grammar, sentences_of_characters)
{
    check_sentences(TOKENIZER_CHARS);
}

Test(grammar, a_mask_is_accepted_nowhere_and_generated_text_everywhere)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    struct grammar *g = read_path(arena, diags, "models/grammars/quickstart.yaml", TOKENIZER_WORDS);
    int32_t text[2000];
    grammar_generate(g, random_key(5, "test"), text, 2000);
    struct sentence_count all = grammar_accepts_sentences(g, text, 2000);
    cr_assert_gt(all.total, 90);
    cr_assert_eq(all.accepted, all.total);
    for (size_t i = 1000; i < 2000; i++)
        if (!g->positions.end_token[text[i]]) {
            text[i] = (int32_t)g->positions.vocabulary->size;
            break;
        }
    struct sentence_count masked = grammar_accepts_sentences(g, text, 2000);
    cr_assert_eq(masked.total, all.total);
    cr_assert_eq(masked.accepted, all.total - 1);
    arena_free(arena);
}

/* In the tiny language "a" ends an arc into the start and stands elsewhere too. */
Test(grammar, a_language_without_clear_ends_counts_no_sentences)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    struct grammar *g = read_text(arena, diags, tiny, TOKENIZER_WORDS);
    cr_assert_not(g->positions.sentences);
    cr_assert_eq(count_sentences(arena, diags, g, "a b b a b b").total, 0);
    arena_free(arena);
}

/* --- vocabularies and recognition --- */

Test(grammar, a_run_with_another_vocabulary_is_refused)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    struct grammar *toy = read_path(arena, diags, "models/grammars/toy.yaml", TOKENIZER_WORDS);
    struct grammar *g =
        grammar_read(diags, arena, "models/grammars/quickstart.yaml", (struct span){0});
    cr_assert_not(grammar_tokenize(diags, arena, g, TOKENIZER_WORDS, toy->positions.vocabulary));
    assert_says(diags, "`today` is not in the vocabulary of the run");
    cr_assert_eq(diags_exit_code(diags), 3);
    arena_free(arena);
}

Test(grammar, files_that_read_like_a_grammar)
{
    static const struct {
        const char *text;
        bool yes;
    } cases[] = {
        {"grammar: 1\nstart: S\n", true},
        {"# words about it\n\n---\ndoc: x\n  more\nstart: S\ngrammar: 1", true},
        {"grammar:\r\n", true},
        {"once upon a time\ngrammar: 1\n", false},
        {"doc: a model\nnodes: 3\n", false},
        {"grammarians: 1\n", false},
        {"", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct source source = {.text = cases[i].text, .size = strlen(cases[i].text)};
        cr_assert_eq(grammar_recognize(&source), cases[i].yes, "case %zu", i);
    }
}
