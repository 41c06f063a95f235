/* Templates: what of a text is known, by each tokenizer. */
#include "runtime/template.h"
#include "tests/runtime/data/fixture.h"

struct reading {
    struct arena *arena;
    struct diags *diags;
    struct vocabulary *vocabulary;
    struct template text;
};

static bool read_template(struct reading *r, enum tokenizer tokenizer, const char *alphabet,
                          const char *text)
{
    *r = (struct reading){.arena = arena_new()};
    struct symbol all = {.text = alphabet, .length = strlen(alphabet)};
    r->diags = diags_new(r->arena);
    r->vocabulary = vocabulary_from_texts(r->arena, tokenizer, &all, 1);
    struct source source = {.name = "--infill", .text = text, .size = strlen(text), .typed = true};
    return template_read(r->diags, r->arena, r->vocabulary, &source,
                         EDGES_OPEN_BEFORE | EDGES_OPEN_AFTER, &r->text);
}

/* The template in letters: its tokens, and per free position . (any) or the allowed symbols. */
static const char *shape(struct reading *r)
{
    char *out = arena_strdup(r->arena, "");
    for (uint32_t i = 0; i < r->text.count; i++) {
        const struct template_place *p = &r->text.places[i];
        if (p->token >= 0)
            out = arena_printf(r->arena, "%s%s", out, r->vocabulary->symbols[p->token]);
        else if (!p->allowed)
            out = arena_printf(r->arena, "%s.", out);
        else {
            out = arena_printf(r->arena, "%s<", out);
            for (uint32_t y = 0; y < r->vocabulary->size; y++)
                if (p->allowed[y])
                    out = arena_printf(r->arena, "%s%s", out, r->vocabulary->symbols[y]);
            out = arena_printf(r->arena, "%s>", out);
        }
    }
    return out;
}

static void gives(enum tokenizer tokenizer, const char *alphabet, const char *text,
                  const char *want)
{
    struct reading r;
    cr_assert(read_template(&r, tokenizer, alphabet, text), "%s", diags_render(r.diags, false));
    cr_assert_str_eq(shape(&r), want, "%s gives %s", text, shape(&r));
    cr_assert_eq(template_has_sets(&r.text), strchr(want, '<') != NULL);
    arena_free(r.arena);
}

Test(template, characters)
{
    gives(TOKENIZER_CHARS, "abc", "a{mask:3}b", "a...b");
    gives(TOKENIZER_CHARS, "abc", "{mask}{any:2}c", "...c");
    gives(TOKENIZER_CHARS, "abc", "{mask: 2}c", "..c");
    gives(TOKENIZER_CHARS, "abc", "a{set:bc}{not:b}", "a<bc><ac>");
    gives(TOKENIZER_CHARS, "abc\xc3\xa9", "{set:\xc3\xa9}\xc3\xa9", "<\xc3\xa9>\xc3\xa9");
    gives(TOKENIZER_CHARS, "a{}", "{{a}}{mask}", "{a}.");
    gives(TOKENIZER_CHARS, "a{}", "{{{mask}}}", "{.}");
    gives(TOKENIZER_CHARS, "a_", "a___", "a___");
    gives(TOKENIZER_CHARS, "abc", "", "");
}

Test(template, words)
{
    gives(TOKENIZER_WORDS, "the cat dog sat", "the {mask:2} sat", "the..sat");
    gives(TOKENIZER_WORDS, "the cat dog sat", "the {set:cat|dog} sat", "the<catdog>sat");
    gives(TOKENIZER_WORDS, "the cat dog sat", "{not:cat|dog} cat", "<satthe>cat");
}

Test(template, bytes)
{
    struct reading r;
    cr_assert(read_template(&r, TOKENIZER_BYTES, "", "a{set:xy}___"));
    cr_assert_eq(r.text.count, 5);
    cr_assert_eq(r.text.places[0].token, 'a');
    cr_assert(r.text.places[1].allowed['x'] && r.text.places[1].allowed['y'] &&
              !r.text.places[1].allowed['z']);
    cr_assert_eq(r.text.places[4].token, '_', "all bytes are in the vocabulary, a low line too");
    arena_free(r.arena);
}

static void refuses(const char *text)
{
    struct reading r;
    cr_assert_not(read_template(&r, TOKENIZER_CHARS, "abc", text), "%s", text);
    cr_assert_eq(diags_errors(r.diags), 1, "%s", text);
    arena_free(r.arena);
}

Test(template, faults)
{
    refuses("a___b");
    refuses("abd");
    refuses("{mask:0}");
    refuses("{mask:}");
    refuses("{mask:9999999999}");
    refuses("{mask:-1}");
    refuses("{set:}");
    refuses("{set}");
    refuses("{set:ax}");
    refuses("{not:abc}");
    refuses("{maks}");
    refuses("{mask");
    refuses("a}");
    refuses("\xff{mask}");
}
