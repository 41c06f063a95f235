/* Draws a process in the terminal. Called by `check`. */
#include "tools/process_show.h"
#include "graph/base/rates.h"
#include "ops/kernels/transition.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH 60
#define HEIGHT 4
/* Beyond this many states computing exp(sigma Q) for a picture would take seconds. */
#define DRAWN_STATES 256
/* At most so many states are shown one by one. */
#define TABLED_STATES 8

/* --- pictures ----------------------------------------------------------------------------- */

static bool terminal_is_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (int i = 0; i < 3; i++) {
        const char *value = getenv(names[i]);
        if (value && value[0])
            return strstr(value, "UTF-8") || strstr(value, "utf8") || strstr(value, "UTF8");
    }
    return false;
}

/* One character of a bar that is V rows high (0 .. HEIGHT), in the row ROW from the bottom. */
static const char *bar_piece(double v, int row, bool utf8)
{
    static const char *const blocks[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const plain[] = {" ", ".", ".", ":", ":", ":", ":", "#", "#"};
    double part = 8 * (v - row);
    int level = part >= 8 ? 8 : part > 0 ? (int)lround(part) : 0;
    return (utf8 ? blocks : plain)[level];
}

/* WIDTH bars over t from 0 to 1, the last at t = 1. */
static void draw_bars(struct writer *w, const double *v, double top, const char *what)
{
    bool utf8 = terminal_is_utf8();
    for (int row = HEIGHT - 1; row >= 0; row--) {
        if (row == HEIGHT - 1)
            write_text(w, "  %8.4g |", top);
        else
            write_text(w, "  %8s |", row == 0 ? "0" : row == 1 ? what : "");
        for (int i = 0; i < WIDTH; i++)
            write_text(w, "%s", bar_piece(v[i] / top * HEIGHT, row, utf8));
        write_text(w, "\n");
    }
}

/* --- the chain at one sigma --------------------------------------------------------------- */

struct view {
    const struct chain *chain;
    void *room;
};

static struct transition view_at(const struct view *v, double sigma)
{
    return transition_make(v->chain, sigma, NULL, 0, v->room, 1);
}

/* The share of positions that differ from the data, over all tokens alike. */
static double noised_share(const struct view *v, double sigma)
{
    struct transition p = view_at(v, sigma);
    double kept = 0;
    if (v->chain->kind == CHAIN_FLAT)
        return p.masked + p.other * (v->chain->tokens - 1);
    for (int32_t x = 0; x < v->chain->tokens; x++)
        kept += transition_at(&p, x, x);
    return 1 - kept / v->chain->tokens;
}

/* The largest total variation, over where the chain started, of its law from the stationary one. */
static double distance_left(const struct view *v, double sigma)
{
    struct transition p = view_at(v, sigma);
    int32_t starts = chain_forgets_alike(v->chain) ? 1 : v->chain->tokens;
    double worst = 0;
    for (int32_t x = 0; x < starts; x++) {
        double sum = 0;
        for (int32_t y = 0; y < v->chain->states; y++)
            sum += fabs(transition_at(&p, y, x) - chain_end(v->chain, y));
        worst = fmax(worst, sum / 2);
    }
    return worst;
}

/* --- words -------------------------------------------------------------------------------- */

static void show_table(struct writer *w, const struct rates *r)
{
    struct arena *work = arena_new();
    int32_t *class_of = arena_new_array(work, int32_t, (size_t)r->states), transient = 0;
    int32_t classes = rates_classes(work, r, class_of);
    for (int32_t x = 0; x < r->states; x++)
        transient += class_of[x] == 0;
    write_text(w, "  rates: %lld jumps, the fastest state leaves at %.4g; %d recurrent class%s",
               (long long)r->count, r->fastest, (int)classes, classes == 1 ? "" : "es");
    if (transient)
        write_text(w, ", %d transient state%s", (int)transient, transient == 1 ? "" : "s");
    write_text(w, "; hash %016llx\n", (unsigned long long)r->hash);
    arena_free(work);
}

/* How far from forgetting the data the chain is at t = 1. */
static void show_mixing(struct writer *w, const struct view *v, double sigma)
{
    if (v->chain->kind == CHAIN_TABLE && !v->chain->stationary) {
        write_text(w, "  mixing: never, the chain keeps which class it started in\n");
        return;
    }
    double left = distance_left(v, sigma);
    write_text(w,
               "  mixing: at t = 1 the law is %.3g from the stationary one (total variation)%s\n",
               left, left > 0.01 ? ": more noise would help" : "");
}

/* Whether sampling and the bound can start from noise. */
static void show_base(struct writer *w, const struct chain *chain, double sigma, bool program)
{
    if (chain->base) {
        write_text(w, "  base term: finite, every state is possible under `base:`\n");
        return;
    }
    if (!chain_leaks(chain)) {
        write_text(w, "  base term: finite, every state is possible under the stationary law\n");
        return;
    }
    double left = exp(-chain->absorb * sigma);
    write_text(w, "  base term: finite, %.3g of the data is left at t = 1%s\n", left,
               program ? " and the program `base` draws it from the network" : "");
    if (!program)
        write_text(w, "    without a program `bound_base`, a pure mask would make it infinite\n");
}

/* --- tables of a small chain -------------------------------------------------------------- */

static const char *state_name(const struct chain *chain, const char *const *symbols, int32_t x,
                              char buffer[16])
{
    if (x == chain->mask)
        return "mask";
    if (symbols)
        return symbols[x];
    snprintf(buffer, 16, "%d", (int)x);
    return buffer;
}

/* Q, or where P is given exp(sigma Q): a column for each state that is left, a row for each that is
 * reached. */
static void show_matrix(struct writer *w, const struct chain *chain, const char *const *symbols,
                        const struct transition *p)
{
    char name[16];
    write_text(w, "  %8s", "");
    for (int32_t x = 0; x < chain->states; x++)
        write_text(w, " %9.8s", state_name(chain, symbols, x, name));
    write_text(w, "\n");
    for (int32_t y = 0; y < chain->states; y++) {
        write_text(w, "  %8.8s", state_name(chain, symbols, y, name));
        for (int32_t x = 0; x < chain->states; x++) {
            double v = p ? transition_at(p, y, x) : chain_rate(chain, y, x);
            write_text(w, " %9.4g", v == 0 ? 0 : v); /* no -0 */
        }
        write_text(w, "\n");
    }
}

static void show_tables(struct writer *w, const struct view *v, const char *const *symbols,
                        double end)
{
    const double sigmas[] = {0.1, 0.5, end};
    write_text(w, "  Q, from the state above to the one on the left\n");
    show_matrix(w, v->chain, symbols, NULL);
    for (size_t i = 0; i < sizeof sigmas / sizeof *sigmas; i++) {
        struct transition p = view_at(v, sigmas[i]);
        write_text(w, "  exp(sigma Q) at sigma %.4g\n", sigmas[i]);
        show_matrix(w, v->chain, symbols, &p);
    }
}

void process_show(struct writer *w, const struct process *process, const char *const *symbols,
                  bool base_program)
{
    const struct chain *chain = &process->chain;
    struct arena *work = arena_new();
    double sigma[WIDTH], share[WIDTH], end, middle;
    bool drawn = chain->kind == CHAIN_FLAT || chain->states <= DRAWN_STATES;
    char *room = arena_alloc(work, drawn ? (size_t)transition_bytes(chain) + 64 : 64);
    struct view view = {chain, room + (64 - (uintptr_t)room % 64) % 64};
    const char *rate = process_rate_print(work, chain);
    write_text(w, "process %s: %.*s%s, %d tokens%s, %d states\n", process->name, WIDTH, rate,
               strlen(rate) > WIDTH ? "…" : "", (int)chain->tokens,
               chain->mask >= 0 ? " and the mask" : "", (int)chain->states);
    if (chain->kind == CHAIN_TABLE)
        show_table(w, chain->rates);
    if (chain->raw)
        write_text(w, "  scores: as the network gives them, not projected (project: off)\n");
    write_text(w, "  sigma(t) = %s\n", expr_print(work, process->sigma));
    /* A picture of a large table is made of fewer points. */
    int stride = chain->kind == CHAIN_FLAT || chain->states <= 64 ? 1 : 6;
    for (int i = WIDTH - 1; i >= 0; i--) {
        if (!process_sigma(process, (i + 1.0) / WIDTH, &sigma[i]))
            sigma[i] = NAN;
        if (!drawn)
            continue;
        share[i] = (WIDTH - 1 - i) % stride ? share[i + 1] : noised_share(&view, sigma[i]);
    }
    end = sigma[WIDTH - 1];
    draw_bars(w, sigma, end, "sigma");
    if (drawn)
        draw_bars(w, share, 1, "noised");
    write_text(w, "  %8s  t = 0%*s\n", "", WIDTH - 5, "t = 1");
    if (drawn && process_sigma(process, 0.5, &middle))
        write_text(w, "  at t = 0.5: sigma %.4g, noised %.4g; at t = 1: sigma %.4g, noised %.6g\n",
                   middle, noised_share(&view, middle), end, share[WIDTH - 1]);
    if (drawn)
        show_mixing(w, &view, end);
    show_base(w, chain, end, base_program);
    if (chain->states <= TABLED_STATES)
        show_tables(w, &view, symbols, end);
    arena_free(work);
}
