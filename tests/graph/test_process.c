/* Processes: every form of a rate and a base, schedules against their formulas, the text form there
 * and back. The messages are held by tests/bad/model/process-*. */
#include "tests/graph/fixture.h"

#include "graph/base/safetensors.h"
#include "graph/process.h"

#include <math.h>

static void close_tables(void)
{
    static const char *const names[] = {"q.csv", "g.csv", "b.csv", "q.safetensors"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(names[i]);
    close_folder();
}

TestSuite(process, .init = open_folder, .fini = close_tables);

static const struct process *read_tokens(int vocab, const char *body, const char *const *symbols)
{
    char text[1000];
    snprintf(text, sizeof text, "sedge: 1\nparams: {vocab: %d}\nprocess: {%s}\n", vocab, body);
    write_file("m.yaml", text);
    struct model_request request = {
        .path = "m.yaml", .symbols = symbols, .symbol_count = symbols ? (uint32_t)vocab : 0};
    struct model *m = model_read(arena, diags, &ops_table, &request);
    expect_quiet();
    cr_assert_not_null(m);
    return &m->processes[0];
}

static const struct process *read_rate(int vocab, const char *rate)
{
    return read_tokens(vocab, arena_printf(arena, "%s, noise: {linear: {max: 5}}", rate), NULL);
}

static double rate_of(const struct rates *r, int32_t y, int32_t x)
{
    for (int64_t k = r->from_start[x]; k < r->from_start[x + 1]; k++)
        if (r->to[k] == y)
            return r->from_rate[k];
    return y == x ? -r->leave[x] : 0;
}

/* --- rates -------------------------------------------------------------------------------- */

Test(process, mixtures)
{
    const struct chain *c = &read_rate(5, "rate: {mix: {absorb: 0.9, uniform: 0.1, "
                                          "mask_leaves: true}}")
                                 ->chain;
    cr_assert_eq(c->kind, CHAIN_FLAT);
    cr_assert_eq(c->absorb, 0.9);
    cr_assert_eq(c->uniform, 0.1);
    cr_assert_eq(c->release, 0.1);
    cr_assert_eq(c->states, 6);
    cr_assert_not(chain_leaks(c));
    c = &read_rate(5, "rate: {mix: {absorb: 0.9, uniform: 0.1, mask_leaves: false}}")->chain;
    cr_assert_eq(c->release, 0);
    cr_assert(chain_leaks(c));
}

Test(process, bands_and_groups)
{
    const struct chain *c = &read_rate(5, "rate: {band: {}}")->chain;
    cr_assert_eq(c->kind, CHAIN_TABLE);
    cr_assert_eq(c->rates->count, 8);
    cr_assert_eq(c->stationary[4], 0.2);
    cr_assert_eq(read_rate(5, "rate: {band: {width: 2, ring: true}}")->chain.rates->count, 20);
    c = &read_rate(4, "rate: {groups: [[3, 0], [1, 2]]}, base: uniform")->chain;
    cr_assert_eq(rate_of(c->rates, 3, 0), 0.5);
    cr_assert_eq(rate_of(c->rates, 1, 0), 0);
    cr_assert_null(c->stationary);
    cr_assert_eq(c->base[1], 0.25);
    uint64_t hash = c->rates->hash;
    cr_assert_eq(read_rate(4, "rate: {groups: [7, 2, 2, 7]}, base: uniform")->chain.rates->hash,
                 hash);
    write_file("g.csv", "1,2,2,1\n");
    cr_assert_eq(read_rate(4, "rate: {groups: g.csv}, base: uniform")->chain.rates->hash, hash);
}

/* The 3 x 3 cyclic chain: the transpose is another one, so that no file may be read turned. */
Test(process, matrices_from_everywhere_are_the_same)
{
    const struct chain *c =
        &read_rate(3, "rate: {matrix: [[-1, 0, 4], [1, -2, 0], [0, 2, -4]]}")->chain;
    uint64_t hash = c->rates->hash;
    cr_assert_eq(rate_of(c->rates, 1, 0), 1);
    cr_assert_eq(rate_of(c->rates, 0, 2), 4);
    cr_assert_float_eq(c->stationary[0], 4.0 / 7, 1e-15);
    const char *rows = "rate: {matrix: [[-1, 1, 0], [0, -2, 2], [4, 0, -4]], rows: true}";
    cr_assert_eq(read_rate(3, rows)->chain.rates->hash, hash);
    write_file("q.csv", "-1,0,4\n1,-2,0\n0,2,-4\n");
    cr_assert_eq(read_rate(3, "rate: {matrix: q.csv}")->chain.rates->hash, hash);
    write_file("q.csv", "0,1,2\n-1,0,4\n1,-2,0\n0,2,-4\n");
    cr_assert_eq(read_rate(3, "rate: {matrix: q.csv}")->chain.rates->hash, hash);
    float q[] = {-1, 0, 4, 1, -2, 0, 0, 2, -4};
    struct tensor_entry entry = {"q", {.dtype = DT_F32, .rank = 2, .dim = {3, 3}, .data = q}};
    cr_assert(tensor_file_write(diags, "q.safetensors", &entry, 1, NULL, NULL, 0));
    cr_assert_eq(read_rate(3, "rate: {matrix: q.safetensors}")->chain.rates->hash, hash);
    /* One state more is the mask. */
    c = &read_rate(2, "rate: {matrix: [[-1, 0, 4], [1, -2, 0], [0, 2, -4]]}")->chain;
    cr_assert_eq(c->mask, 2);
    cr_assert_eq(c->states, 3);
}

/* Columns in the order of the file, states in the order of the symbols. */
Test(process, headers_match_symbols_by_name)
{
    static const char *const symbols[] = {"a", "b", "c"}, *const other[] = {"a", "b", "d"};
    static const char body[] = "rate: {matrix: q.csv}, noise: {linear: {max: 5}}";
    write_file("q.csv", "c,a,b\n-4,0,2\n4,-1,0\n0,1,-2\n");
    const struct rates *r = read_tokens(3, body, symbols)->chain.rates;
    cr_assert_eq(rate_of(r, 0, 2), 4); /* c -> a */
    cr_assert_eq(rate_of(r, 1, 0), 1); /* a -> b */
    cr_assert_eq(rate_of(r, 2, 1), 2); /* b -> c */
    r = read_tokens(3, body, NULL)->chain.rates;
    cr_assert_eq(rate_of(r, 1, 0), 4);
    struct model_request request = {.path = "m.yaml", .symbols = other, .symbol_count = 3};
    cr_assert_null(model_read(arena, diags, &ops_table, &request));
    expect("m.yaml:3:26: error: the header names `c`, which is no symbol of the data\n"
           "    process: {rate: {matrix: q.csv}, noise: {linear: {max: 5}}}\n"
           "                             ^~~~~\n"
           "    each symbol has a column: `a` is without one so far\n");
    write_file("q.csv", "a,a,b\n-4,0,2\n4,-1,0\n0,1,-2\n");
    request.symbols = symbols;
    cr_assert_null(model_read(arena, diags, &ops_table, &request));
    expect("m.yaml:3:26: error: the header names `a` twice\n"
           "    process: {rate: {matrix: q.csv}, noise: {linear: {max: 5}}}\n"
           "                             ^~~~~\n");
}

/* The same for what has one number a state: a law, and groups. */
Test(process, headers_match_one_number_a_state)
{
    static const char *const symbols[] = {"a", "b", "c"}, *const digits[] = {"2", "0", "1"};
    static const char base[] = "rate: uniform, base: b.csv, noise: {linear: {max: 5}}";
    static const char groups[] = "rate: {groups: g.csv}, base: uniform, noise: {linear: {max: 5}}";
    write_file("b.csv", "c,a,b\n0.5,0.3,0.2\n");
    const struct chain *c = &read_tokens(3, base, symbols)->chain;
    cr_assert_eq(c->base[0], 0.3);
    cr_assert_eq(c->base[1], 0.2);
    cr_assert_eq(c->base[2], 0.5);
    cr_assert_eq(read_tokens(3, base, NULL)->chain.base[0], 0.5);
    write_file("b.csv", "0,1,2\n0.5,0.3,0.2\n"); /* names too: of two rows one is */
    c = &read_tokens(3, base, digits)->chain;
    cr_assert_eq(c->base[0], 0.2);
    cr_assert_eq(c->base[1], 0.5);
    write_file("b.csv", "probability\n0.5\n0.3\n0.2\n");
    cr_assert_eq(read_tokens(3, base, symbols)->chain.base[0], 0.5);
    write_file("b.csv", "c,a,b,[mask]\n0.1,0.3,0.2,0.4\n");
    c = &read_tokens(3, "rate: absorb, base: b.csv, noise: loglinear", symbols)->chain;
    cr_assert_eq(c->base[2], 0.1);
    cr_assert_eq(c->base[3], 0.4);
    write_file("g.csv", "c,a,b\n1,0,0\n");
    c = &read_tokens(3, groups, symbols)->chain;
    cr_assert_gt(rate_of(c->rates, 0, 1), 0);
    cr_assert_eq(rate_of(c->rates, 0, 2), 0);
    write_file("g.csv", "c,a,b\n1,0,0\n1,0,0\n");
    struct model_request request = {.path = "m.yaml", .symbols = symbols, .symbol_count = 3};
    cr_assert_null(model_read(arena, diags, &ops_table, &request));
    expect("m.yaml:3:26: error: below the names of 3 states there must be one row of numbers, not "
           "2\n"
           "    process: {rate: {groups: g.csv}, base: uniform, noise: {linear: {max: 5}}}\n"
           "                             ^~~~~\n");
}

Test(process, tensors_and_groups_that_do_not_fit)
{
    static const char *const symbols[] = {"a", "b", "c"};
    float q[] = {0, 0, 0};
    struct tensor_entry entry = {"q", {.dtype = DT_F32, .rank = 1, .dim = {3}, .data = q}};
    cr_assert(tensor_file_write(diags, "q.safetensors", &entry, 1, NULL, NULL, 0));
    write_file("m.yaml", "sedge: 1\nparams: {vocab: 3}\n"
                         "process: {rate: {matrix: q.safetensors}, noise: loglinear}\n");
    struct model_request request = {.path = "m.yaml", .symbols = symbols, .symbol_count = 3};
    cr_assert_null(model_read(arena, diags, &ops_table, &request));
    expect("m.yaml:3:26: error: the file must hold one matrix, f32 or f64, of at most 4096 states\n"
           "    process: {rate: {matrix: q.safetensors}, noise: loglinear}\n"
           "                             ^~~~~~~~~~~~~\n");
    write_file("m.yaml", "sedge: 1\nparams: {vocab: 3}\n"
                         "process: {rate: {groups: [[a, b], [x]]}, noise: loglinear}\n");
    cr_assert_null(model_read(arena, diags, &ops_table, &request));
    expect("m.yaml:3:36: error: this is no symbol of the data, and no id below 3\n"
           "    process: {rate: {groups: [[a, b], [x]]}, noise: loglinear}\n"
           "                                       ^\n");
}

Test(process, bases)
{
    const struct chain *c = &read_rate(3, "rate: absorb, base: {mask: 0.7}")->chain;
    cr_assert_eq(c->base[3], 0.7);
    cr_assert_float_eq(c->base[0], 0.1, 1e-16);
    cr_assert_not(chain_leaks(c));
    write_file("b.csv", "0.5\n0.25\n0.25\n");
    c = &read_rate(3, "rate: uniform, base: b.csv")->chain;
    cr_assert_eq(c->base[0], 0.5);
    /* A transient state with a base of its own. */
    c = &read_rate(3, "rate: {matrix: [[-1, 1, 1], [1, -1, 0], [0, 0, -1]]}, base: uniform")->chain;
    cr_assert_eq(c->stationary[2], 0);
    cr_assert_eq(c->base[2], 1.0 / 3);
}

/* A rate that was set leaves the base of the file's rate behind. */
Test(process, settings_replace_rate_and_base)
{
    write_file("m.yaml",
               "sedge: 1\nparams: {vocab: 4}\n"
               "process: {rate: {groups: [0, 0, 1, 1]}, base: uniform, noise: loglinear}\n");
    struct setting set[] = {
        {"process.rate", yaml_read_text(diags, arena, "args", "absorb", 6), LAYER_COMMAND},
        {"process.base", yaml_read_text(diags, arena, "args", "{mask: 0.9}", 11), LAYER_COMMAND}};
    struct model_request request = {.path = "m.yaml", .settings = set, .setting_count = 1};
    cr_assert_null(model_read(arena, diags, &ops_table, &request)->processes[0].chain.base);
    request.setting_count = 2;
    cr_assert_eq(model_read(arena, diags, &ops_table, &request)->processes[0].chain.base[4], 0.9);
    request.without_processes = true;
    cr_assert_eq(model_read(arena, diags, &ops_table, &request)->process_count, 0);
    expect_quiet();
}

/* --- noise -------------------------------------------------------------------------------- */

static double alpha(const struct process *p, double t)
{
    double sigma;
    cr_assert(process_sigma(p, t, &sigma));
    return exp(-sigma);
}

Test(process, schedules_are_their_formulas)
{
    const double pi = acos(-1.0);
    const struct {
        const char *noise;
        int kind;
    } all[] = {{"{loglinear: {eps: 0}}", 0}, {"cosine", 1},
               {"cosine_squared", 2},        {"{polynomial: {power: 3}}", 3},
               {"{linear: {max: 7}}", 4},    {"polynomial", 5}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const struct process *p =
            read_tokens(3, arena_printf(arena, "rate: absorb, noise: %s", all[i].noise), NULL);
        for (double t = 0.05; t < 1; t += 0.1) {
            const double want[] = {1 - t,         cos(pi * t / 2), pow(cos(pi * t / 2), 2),
                                   1 - t * t * t, exp(-7 * t),     1 - t * t};
            cr_assert_float_eq(alpha(p, t), want[all[i].kind], 1e-14, "%s at %g", all[i].noise, t);
        }
    }
}

/* A band over the 4,096 states there may be has mixed at sigma 1.2e7: schedules reach it. */
Test(process, noise_may_be_as_large_as_bands_need)
{
    double sigma;
    const struct process *p = read_tokens(
        3, "rate: {band: {width: 1}}, noise: {geometric: {min: 1.0e-4, max: 1.2e7}}", NULL);
    cr_assert(process_sigma(p, 1, &sigma));
    cr_assert_float_eq(sigma / 1.2e7, 1, 1e-12, "%g", sigma);
}

/* Where alpha is 1 to fifteen digits sigma still has them: cosine is (pi t / 2)^2 / 2 there. */
Test(process, cosine_keeps_its_digits)
{
    const double pi = acos(-1.0);
    double sigma, t = 1e-9;
    cr_assert(process_sigma(read_tokens(3, "rate: absorb, noise: cosine", NULL), t, &sigma));
    cr_assert_float_eq(sigma / (pi * pi * t * t / 8), 1, 1e-14);
}

/* The least noise there may be: at the end of any chain, at the start of a table. */
Test(process, noise_may_be_as_small_as_draws_and_doubles_are)
{
    double sigma;
    const struct process *p = read_tokens(3, "rate: absorb, noise: {linear: {max: 1.2e-16}}", NULL);
    cr_assert(process_sigma(p, 1, &sigma));
    cr_assert_eq(sigma, 1.2e-16);
    p = read_tokens(3, "rate: absorb, noise: {polynomial: {power: 60}}", NULL);
    cr_assert(process_sigma(p, 1e-5, &sigma));
    cr_assert_float_eq(sigma / 1e-300, 1, 1e-12);
    p = read_tokens(3, "rate: {band: {width: 1}}, noise: {geometric: {min: 1.0e-153, max: 20}}",
                    NULL);
    cr_assert(process_sigma(p, 0, &sigma));
    cr_assert_float_eq(sigma / 1e-153, 1, 1e-12);
}

/* `cosine` and `cosine_squared` end where they say, under a table as elsewhere: alpha is there the
 * sine of pi / 2^31. */
Test(process, cosine_has_an_end)
{
    static const char *const rates[] = {"absorb", "{band: {width: 1}}"};
    for (int i = 0; i < 2; i++) {
        for (int power = 1; power <= 2; power++) {
            double sigma, want = -power * log(sin(acos(-1.0) / 0x1p31));
            const char *noise = power == 1 ? "cosine" : "cosine_squared";
            const struct process *p =
                read_tokens(3, arena_printf(arena, "rate: %s, noise: %s", rates[i], noise), NULL);
            cr_assert(process_sigma(p, 1, &sigma));
            cr_assert_float_eq(sigma, want, 1e-7, "%s: %.9g, not %.9g", noise, sigma, want);
        }
    }
}

/* sigma stays finite at t = 1, equal to the schedule before, and leaves at most 2e-16. */
Test(process, the_end_is_held)
{
    static const char *const all[] = {"{loglinear: {eps: 0}}",

                                      "cosine_squared", "polynomial",
                                      "{sigma: \"1 / (1 - t) - 1\"}", "{sigma: \"1000 * t\"}"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        double end, before;
        const struct process *p =
            read_tokens(3, arena_printf(arena, "rate: uniform, noise: %s", all[i]), NULL);
        cr_assert(process_sigma(p, 1, &end), "%s", all[i]);
        cr_assert(process_sigma(p, 1 - 0x1p-53, &before), "%s", all[i]);
        cr_assert_geq(end, before);
        cr_assert_gt(end, 35, "%s: %g", all[i], end);
        cr_assert_leq(end, 80, "%s: %g", all[i], end);
    }
    double sigma;
    cr_assert(process_sigma(read_tokens(3, "rate: uniform, noise: {sigma: \"1000 * t\"}", NULL),
                            0.05, &sigma));
    cr_assert_eq(sigma, 50);
}

/* --- the text form ------------------------------------------------------------------------ */

static void expect_text(int vocab, const char *rate, const char *text)
{
    const struct process *p = read_rate(vocab, rate);
    cr_assert_str_eq(process_print(arena, p), text);
    char *whole = arena_printf(arena, "process main %s\n", text);
    struct graph *g = graph_read(arena, diags, &ops_table, &states, "t", whole, strlen(whole));
    expect_quiet();
    cr_assert_not_null(g);
    const struct chain *a = &p->chain, *b = &g->processes[0].chain;
    cr_assert_eq(a->kind, b->kind);
    cr_assert_eq(a->states, b->states);
    cr_assert_eq(a->mask, b->mask);
    cr_assert_eq(a->absorb, b->absorb);
    cr_assert_eq(a->uniform, b->uniform);
    cr_assert_eq(a->release, b->release);
    if (a->rates)
        cr_assert_eq(a->rates->hash, b->rates->hash);
    cr_assert_eq(a->base == NULL, b->base == NULL);
    cr_assert_str_eq(process_print(arena, &g->processes[0]), text);
}

Test(process, text_there_and_back)
{
    expect_text(4, "rate: absorb", "absorb 4 5 * t");
    expect_text(4, "rate: uniform, base: [0.5, 0.25, 0.125, 0.125]",
                "uniform 4 base [0.5, 0.25, 0.125, 0.125] 5 * t");
    expect_text(4, "rate: uniform, project: off", "uniform 4 raw 5 * t");
    expect_text(4, "rate: uniform, project: on", "uniform 4 5 * t");
    expect_text(4, "rate: {mix: {absorb: 0.9, uniform: 0.1, mask_leaves: true}}",
                "{mix: {absorb: 0.9, uniform: 0.1, mask_leaves: true}} 4 5 * t");
    expect_text(4, "rate: {band: {width: 2}}", "{band: {width: 2, ring: false}} 4 5 * t");
    expect_text(4, "rate: {groups: [0, 1, 0, 2]}, base: uniform",
                "{groups: [0, 1, 0, 2]} 4 base [0.25, 0.25, 0.25, 0.25] 5 * t");
    write_file("q.csv", "a,b\n-1,0.25\n1,-0.25\n");
    expect_text(2, "rate: {matrix: q.csv}", "{matrix: [[-1, 0.25], [1, -0.25]]} 2 5 * t");
}

Test(process, a_large_table_is_named_by_its_hash)
{
    /* 400 states, all jumps: more than PROCESS_TEXT_ENTRIES. */
    struct process p = *read_rate(400, "rate: {band: {width: 399}}");
    struct rates r = *p.chain.rates;
    r.text = "{matrix: q.csv}";
    r.whole = false;
    p.chain.rates = &r;
    char *text = arena_printf(arena, "process main %s\n", process_print(arena, &p));
    char *start =
        arena_printf(arena, "process main {hash: %016llx} 400 5 * t\n", (unsigned long long)r.hash);
    cr_assert_str_eq(text, start);
    cr_assert_null(graph_read(arena, diags, &ops_table, &states, "t", text, strlen(text)));
    cr_assert(strstr(diags_render(diags, false), "this table of rates was too large to print"));
    static const char open[] = "process main {matrix: [ 2 5 * t\n";
    cr_assert_null(graph_read(arena, diags, &ops_table, &states, "t", open, strlen(open)));
    cr_assert(strstr(diags_render(diags, false), "t:1:14: error: this bracket is not closed\n"));
}
