/* Published weights under the names of models: sizes from shapes, averages without names, and files
 * that are something else. */
#include "runtime/published/published.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct arena *arena;
static struct diags *diags;

static void set_up(void)
{
    arena = arena_new();
    diags = diags_new(arena);
}

static void tear_down(void)
{
    arena_free(arena);
}

TestSuite(published, .init = set_up, .fini = tear_down);

/* --- files -------------------------------------------------------------------------------- */

static struct tensor_file *new_file(void)
{
    struct tensor_file *f = arena_alloc(arena, sizeof *f);
    f->path = "file";
    f->entries = arena_new_array(arena, struct tensor_entry, 64);
    return f;
}

/* Numbers from FIRST on. */
static struct tensor *add(struct tensor_file *f, const char *name, int64_t rows, int64_t columns,
                          float first)
{
    struct tensor_entry *e = &f->entries[f->count++];
    int64_t count = rows * (columns ? columns : 1);
    float *data = arena_new_array(arena, float, (size_t)count);
    for (int64_t i = 0; i < count; i++)
        data[i] = first + (float)i;
    *e = (struct tensor_entry){name, {DT_F32, columns ? 2 : 1, {rows, columns}, data}};
    return &e->tensor;
}

/* A network of 5 states, width 4, two layers, under PREFIX: what tells its sizes. */
static struct tensor_file *diffusion(const char *prefix)
{
    struct tensor_file *f = new_file();
    add(f, arena_printf(arena, "%svocab_embed.embedding", prefix), 5, 4, 0);
    add(f, arena_printf(arena, "%ssigma_map.mlp.0.weight", prefix), 3, 256, 100);
    add(f, arena_printf(arena, "%srotary_emb.inv_freq", prefix), 1, 0, 0);
    add(f, arena_printf(arena, "%sblocks.0.norm1.weight", prefix), 4, 0, 200);
    add(f, arena_printf(arena, "%sblocks.1.norm1.weight", prefix), 4, 0, 300);
    return f;
}

static bool read_as(const char *family, const struct tensor_file *f, int64_t symbols,
                    const char *config, struct published_weights *out)
{
    return published_read(diags, arena, published_find(family), f, symbols, config, out);
}

static void assert_param(const struct published_weights *w, const char *name, int64_t value)
{
    for (uint32_t i = 0; i < w->param_count; i++)
        if (strcmp(w->params[i].name, name) == 0) {
            cr_assert_eq(w->params[i].value, value, "%s", name);
            return;
        }
    cr_assert(false, "no %s", name);
}

static void assert_refused(bool good, const char *text)
{
    char *all = diags_render(diags, false);
    cr_assert(!good);
    cr_assert(strstr(all, text), "expected: %s; got: %s", text, all);
    cr_assert_eq(diags_exit_code(diags), 3);
}

/* --- what they are ------------------------------------------------------------------------ */

Test(published, sizes_come_from_shapes)
{
    struct published_weights w;
    cr_assert(read_as("sedd", diffusion("model.module."), 4, NULL, &w), "%s",
              diags_render(diags, false));
    cr_assert_str_eq(w.model, "sedd-absorb");
    cr_assert_str_eq(w.prefix, "model.module.");
    assert_param(&w, "vocab", 4);
    assert_param(&w, "dim", 4);
    assert_param(&w, "cond", 3);
    assert_param(&w, "layers", 2);
    assert_param(&w, "heads", 2); /* one frequency is a head of two */
    cr_assert_eq(w.tensors.count, 4);
    cr_assert_not_null(tensor_file_get(&w.tensors, "blocks.1.norm1.weight"));
    cr_assert(!w.averaged && w.other == 0);
}

Test(published, states_tell_the_chain)
{
    struct published_weights w;
    cr_assert(read_as("sedd", diffusion(""), 5, NULL, &w));
    cr_assert_str_eq(w.model, "sedd-uniform");
    assert_refused(read_as("mdlm", diffusion(""), 5, NULL, &w),
                   "`vocab_embed.embedding` has 5 rows, and the vocabulary 5 symbols");
}

Test(published, another_file_is_told_what_it_is)
{
    struct published_weights w;
    assert_refused(read_as("gpt2", diffusion(""), 5, NULL, &w),
                   "holds no weights of gpt2: it has no tensor `wte.weight`\n"
                   "    by its names it is: --as sedd");
}

Test(published, a_size_needs_its_tensor)
{
    struct published_weights w;
    struct tensor_file *f = diffusion("");
    f->entries[1].name = "sigma_map.mlp.0.wait";
    assert_refused(read_as("sedd", f, 4, NULL, &w),
                   "has no tensor `sigma_map.mlp.0.weight` with 1 axes");
}

Test(published, the_configuration_agrees)
{
    struct published_weights w;
    const char *good = "{\"model\": {\"hidden_size\": 4, \"n_blocks\": 2, \"n_heads\": 2}}";
    cr_assert(read_as("sedd", diffusion(""), 4, good, &w), "%s", diags_render(diags, false));
    assert_refused(read_as("sedd", diffusion(""), 4, "{\"n_layer\": 3}", &w),
                   "its tensors say that layers is 2, and `n_layer` of its config.json 3");
}

Test(published, the_configuration_is_an_object)
{
    struct published_weights w;
    assert_refused(read_as("sedd", diffusion(""), 4, "[]", &w),
                   "the config.json beside it is no JSON object");
}

/* --- GPT-2 -------------------------------------------------------------------------------- */

static struct tensor_file *gpt2(void)
{
    struct tensor_file *f = new_file();
    add(f, "transformer.wte.weight", 5, 128, 0);
    add(f, "transformer.wpe.weight", 7, 128, 0);
    add(f, "transformer.h.0.ln_1.weight", 128, 0, 0);
    add(f, "transformer.h.0.attn.bias", 7, 7, 0);
    add(f, "transformer.h.0.mlp.c_fc.weight", 2, 3, 10);
    add(f, "lm_head.weight", 5, 128, 0);
    return f;
}

Test(published, matrices_stay)
{
    struct published_weights w;
    const float matrix[] = {10, 11, 12, 13, 14, 15};
    cr_assert(read_as("gpt2", gpt2(), 5, NULL, &w), "%s", diags_render(diags, false));
    cr_assert_str_eq(w.model, "gpt2");
    assert_param(&w, "length", 7);
    assert_param(&w, "positions", 7);
    assert_param(&w, "heads", 2); /* of 64 each, as in all that was published */
    cr_assert_eq(w.tensors.count, 4);
    cr_assert_eq(w.other, 1);
    const struct tensor *t = tensor_file_get(&w.tensors, "h.0.mlp.c_fc.weight");
    cr_assert(t && t->dim[0] == 2 && t->dim[1] == 3);
    cr_assert_arr_eq(t->data, matrix, sizeof matrix);
}

Test(published, one_matrix_for_both)
{
    struct published_weights w;
    struct tensor_file *f = gpt2();
    ((float *)f->entries[5].tensor.data)[3] = 9;
    assert_refused(read_as("gpt2", f, 5, NULL, &w),
                   "`lm_head.weight` differs from `transformer.wte.weight`: the model has one");
}

/* With its prefix or without one; but an average of it is another. */
Test(published, averages_of_the_matrix_are_others)
{
    struct published_weights w;
    struct tensor_file *f = gpt2();
    f->entries[5].name = "ema_model.lm_head.weight";
    ((float *)f->entries[5].tensor.data)[3] = 9;
    cr_assert(read_as("gpt2", f, 5, NULL, &w), "%s", diags_render(diags, false));
}

/* And back: the file is as it was. */
Test(published, written_as_published)
{
    struct published_weights w;
    char path[] = "/tmp/sedge-published-XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
    struct tensor_file *f = gpt2();
    cr_assert(read_as("gpt2", f, 5, NULL, &w));
    cr_assert(published_write(diags, arena, &w.tensors, true, path));
    struct tensor_file *back = tensor_file_open(diags, arena, path);
    const struct tensor *t = back ? tensor_file_get(back, "h.0.mlp.c_fc.weight") : NULL;
    cr_assert(t && t->dim[0] == 2 && t->dim[1] == 3);
    cr_assert_arr_eq(t->data, f->entries[4].tensor.data, 6 * sizeof(float));
    cr_assert_str_eq(tensor_file_meta(back, "format"), "pt");
    tensor_file_close(back);
    unlink(path);
}

/* --- averages ----------------------------------------------------------------------------- */

Test(published, averages_are_in_the_order_of_parameters)
{
    struct published_weights w;
    struct tensor_file *f = diffusion("model.");
    const int64_t shapes[4][2] = {{5, 4}, {3, 256}, {4, 0}, {4, 0}};
    for (int i = 0; i < 4; i++)
        add(f, arena_printf(arena, "ema.shadow_params.%d", i), shapes[i][0], shapes[i][1],
            (float)(1000 * i));
    cr_assert(read_as("sedd", f, 4, NULL, &w), "%s", diags_render(diags, false));
    cr_assert(w.averaged && w.other == 0 && w.tensors.count == 8);
    const struct tensor *t = tensor_file_get(&w.tensors, "ema/blocks.1.norm1.weight");
    cr_assert(t && ((const float *)t->data)[1] == 3001);
}

Test(published, averages_have_the_shapes_of_parameters)
{
    struct published_weights w;
    struct tensor_file *f = diffusion("");
    add(f, "ema.shadow_params.0", 4, 5, 0);
    assert_refused(
        read_as("sedd", f, 4, NULL, &w),
        "its average `ema.shadow_params.0` has another shape than `vocab_embed.embedding`");
}

Test(published, averages_of_all)
{
    struct published_weights w;
    struct tensor_file *f = diffusion("");
    add(f, "ema.shadow_params.0", 5, 4, 0);
    assert_refused(read_as("sedd", f, 4, NULL, &w), "has averages of 1 of its 4 parameters");
}

Test(published, averages_have_their_places)
{
    struct published_weights w;
    struct tensor_file *f = diffusion("");
    add(f, "ema.shadow_params.1", 5, 4, 0);
    assert_refused(read_as("sedd", f, 4, NULL, &w),
                   "its averages `ema.shadow_params.1` are not those of its 4 parameters");
}
