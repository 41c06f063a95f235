/* Finds the vocabulary that --tokenizer names. */
#include "tools/option_vocabulary.h"
#include "graph/process_source.h"

static const char choices[] = "--tokenizer gpt2:DIR, bert:DIR, bytes, or a run's vocabulary.json";

const struct vocabulary *option_vocabulary(struct command_line *line)
{
    const char *name = option_text(line, "tokenizer"), *place = NULL;
    enum tokenizer tokenizer;
    if (!name) {
        diag_error(line->diags, FAULT_CONFIG, (struct span){0},
                   "which tokenizer? --tokenizer says");
        diag_hint(line->diags, "--tokenizer gpt2:DIR");
        return NULL;
    }
    bool known = tokenizer_find(name, &tokenizer, &place);
    if (!known && source_ends(name, ".json"))
        return vocabulary_read(line->diags, line->arena, name);
    if (known && tokenizer == TOKENIZER_BYTES)
        return vocabulary_from_texts(line->arena, tokenizer, NULL, 0);
    if (known && place && *place)
        return vocabulary_open(line->diags, line->arena, tokenizer, place);
    diag_error(line->diags, FAULT_CONFIG, (struct span){0},
               known ? "`%s` alone says nothing of its symbols" : "no tokenizer is `%s`", name);
    diag_hint(line->diags, "%s", choices);
    return NULL;
}
