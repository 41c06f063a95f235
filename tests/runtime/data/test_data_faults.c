/* Faults in data that no command can be given, because it looks at the file first: tests/bad/data,
 * grammar and vocabulary have the others. */
#include "runtime/data/dataset.h"
#include "runtime/data/grammar.h"
#include "tests/runtime/data/arena.h"
#include "tests/runtime/data/fixture.h"

SUITE_WITH_ARENA(data_faults);

static void refuse_grammar(const char *text, const char *message)
{
    const char *path = fixture_text(arena, text);
    cr_assert_null(grammar_read(diags, arena, path, (struct span){0}));
    assert_says(diags, message);
    unlink(path);
}

Test(data_faults, grammars_that_are_none)
{
    refuse_grammar("- S\n", ":1:1: error: a grammar is a map\n");
    refuse_grammar("start: S\n", ":1:1: error: the format's version is missing\n");
}

Test(data_faults, too_many_states)
{
    char *text = arena_strdup(arena, "grammar: 1\nstart: s0\nstates:\n");
    for (int i = 0; i <= GRAMMAR_STATES_MAX; i++)
        text = arena_printf(arena, "%s  s%d: []\n", text, i);
    refuse_grammar(text, arena_printf(arena, "error: %d states are more than %d\n",
                                      GRAMMAR_STATES_MAX + 1, GRAMMAR_STATES_MAX));
}

/* Words of which the vocabulary of a grammar has one blank between any two. */
Test(data_faults, blanks_between_words)
{
    const char *grammar = fixture_text(arena, "grammar: 1\nstart: S\n"
                                              "states: {S: [{say: \"the cat \", go: S}]}\n");
    struct dataset_options o = {.files = &grammar, .file_count = 1, .length = 4, .seed = 1};
    struct dataset *known = dataset_open(diags, arena, &o);
    assert_clean(diags);
    const char *text = fixture_text(arena, "the cat\nthe cat the cat the cat\n");
    o = (struct dataset_options){.files = &text,
                                 .file_count = 1,
                                 .length = 4,
                                 .tokenizer = "words",
                                 .vocabulary = dataset_vocabulary(known)};
    cr_assert_null(dataset_open(diags, arena, &o));
    assert_says(diags,
                "error: blanks other than one space between two words are not in the vocabulary "
                "here\n");
    unlink(text);
    unlink(grammar);
}
