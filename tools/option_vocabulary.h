/* The vocabulary that the option --tokenizer names: what `tokens` and `import` share. */
#ifndef SEDGE_TOOLS_OPTION_VOCABULARY_H
#define SEDGE_TOOLS_OPTION_VOCABULARY_H

#include "runtime/data/vocabulary.h"
#include "tools/command.h"

/* Its argument as the help of such a command describes it. */
#define OPTION_TOKENIZER                                                                           \
    {                                                                                              \
        "tokenizer", 't', OPTION_TEXT, "NAME",                                                     \
            "gpt2:DIR, bert:DIR, bytes, or a run's vocabulary.json", NULL                          \
    }

/* NULL after reporting: it is not given, is none, or its files are at fault. */
const struct vocabulary *option_vocabulary(struct command_line *line);

#endif
