/* sedge tokens: a text as ids and back, and vocabularies learned from texts. */
#include "graph/base/safetensors.h"
#include "runtime/data/bpe_file.h"
#include "runtime/data/bpe_learn.h"
#include "runtime/data/token_file.h"
#include "tools/option_vocabulary.h"
#include "tools/signals.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct option_spec options[] = {
    OPTION_TOKENIZER,
    {"ids", 'i', OPTION_FLAG, NULL, "print the ids, one a line", NULL},
    {"count", 'c', OPTION_FLAG, NULL, "print how many they are, and nothing else", NULL},
    {"decode", 'd', OPTION_FLAG, NULL, "FILE is ids, as --ids or -o writes them: print the text",
     NULL},
    {"learn", 0, OPTION_TEXT, "N", "learn N symbols of byte-level BPE from the files", NULL},
    {"output", 'o', OPTION_FILE, "FILE", "where ids go (safetensors), the text, or the vocabulary",
     NULL},
    {0}};

static int fault(struct command_line *line, const char *what, const char *hint)
{
    diag_error(line->diags, FAULT_CONFIG, (struct span){0}, "%s", what);
    diag_hint(line->diags, "%s", hint);
    return diags_exit_code(line->diags);
}

/* --- reading ------------------------------------------------------------------------------ */

/* All of standard input; false after reporting. */
static bool read_input(struct command_line *line, struct source *out)
{
    uint32_t capacity = 1 << 16;
    size_t size = 0, room = capacity;
    char *text = arena_alloc(line->arena, room);
    for (;;) {
        ssize_t n = read(STDIN_FILENO, text + size, room - size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            diag_error(line->diags, FAULT_DATA, (struct span){0}, "cannot read standard input: %s",
                       strerror(errno));
            return false;
        }
        if (n == 0)
            break;
        size += (size_t)n;
        if (size == room) {
            char *larger = arena_alloc(line->arena, room * 2);
            memcpy(larger, text, size);
            text = larger;
            room *= 2;
        }
    }
    *out = (struct source){.name = "standard input", .text = text, .size = size};
    if (size == 0)
        diag_error(line->diags, FAULT_DATA, (struct span){0}, "`%s` is empty", out->name);
    return size > 0;
}

static bool open_text(struct command_line *line, const char *path, struct source *out)
{
    return strcmp(path, "-") == 0 ? read_input(line, out) : source_open(line->diags, path, out);
}

/* --- writing ------------------------------------------------------------------------------ */

/* A file is written whole once it is begun: Ctrl-C waits for that, and still ends the command as
 * such. */
static int finish(struct command_line *line)
{
    return signals_caught() ? signals_exit_code() : diags_exit_code(line->diags);
}

static int encode(struct command_line *line, const struct vocabulary *v, struct source *source)
{
    int32_t *ids;
    size_t count;
    const char *out = option_text(line, "output");
    if (!vocabulary_encode(v, line->diags, line->arena, source, EDGES_CLOSED, &ids, &count))
        return diags_exit_code(line->diags);
    if (out) {
        signals_catch(NULL);
        token_file_write(line->diags, out, v, ids, count);
    }
    for (size_t i = 0; option_given(line, "ids") && i < count; i++)
        printf("%d\n", ids[i]);
    if (option_given(line, "count"))
        printf("%zu\n", count);
    else if (!option_given(line, "ids") && !diags_errors(line->diags))
        printf("%zu tokens of %zu bytes: %.3f bytes a token, of %u symbols\n", count, source->size,
               count ? (double)source->size / (double)count : 0, v->size);
    return finish(line);
}

static int decode(struct command_line *line, const struct vocabulary *v, struct source *source)
{
    int32_t *ids;
    size_t count, size;
    const char *out = option_text(line, "output");
    bool read = token_file_recognize(source)
                    ? token_file_read(line->diags, line->arena, source, v, &ids, &count)
                    : token_text_read(line->diags, line->arena, source, v, &ids, &count);
    if (!read)
        return diags_exit_code(line->diags);
    char *text = vocabulary_decode(v, line->arena, ids, count, "", &size);
    if (out) {
        signals_catch(NULL);
        file_write_atomic(line->diags, out, text, size);
    } else {
        fwrite(text, 1, size, stdout);
    }
    return finish(line);
}

/* --- learning ----------------------------------------------------------------------------- */

static int learn(struct command_line *line)
{
    const char *text = option_text(line, "learn"), *folder = option_text(line, "output");
    char *end;
    errno = 0;
    long long size = strtoll(text, &end, 10);
    if (errno || *end || end == text || size < BPE_LEARN_LEAST || size > BPE_LEARN_MOST)
        return fault(line, arena_printf(line->arena, "--learn %s: not so many symbols", text),
                     arena_printf(line->arena,
                                  "a whole number from %d to %d: 256 bytes, merges, and "
                                  "<|endoftext|>",
                                  BPE_LEARN_LEAST, BPE_LEARN_MOST));
    if (!folder)
        return fault(line, "--learn needs a folder for the vocabulary", "-o DIR");
    struct source *sources = arena_new_array(line->arena, struct source, line->positional_count);
    struct symbol *texts = arena_new_array(line->arena, struct symbol, line->positional_count);
    for (uint32_t i = 0; i < line->positional_count; i++) {
        if (!open_text(line, line->positional[i], &sources[i]))
            return diags_exit_code(line->diags);
        texts[i] = (struct symbol){sources[i].text, sources[i].size};
    }
    struct vocabulary *v = bpe_learn(line->arena, texts, line->positional_count, (uint32_t)size);
    if (v->size < size) {
        diag_warning(line->diags, (struct span){0}, "the text gives only %u of %lld symbols",
                     v->size, size);
        diag_hint(line->diags, "no other pair of symbols occurs twice");
    }
    signals_catch(NULL);
    if (bpe_write(line->diags, v, folder))
        printf("%u symbols, %u merges in %s: data.tokenizer=gpt2:%s\n", v->size,
               v->bpe->merge_count, folder, folder);
    return finish(line);
}

static int run(struct command_line *line)
{
    static const char *const modes[] = {"ids", "count", "decode", "learn"};
    uint32_t given = 0;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        given += option_given(line, modes[i]);
    if (given > 1)
        return fault(line, "--ids, --count, --decode and --learn: one of them",
                     "sedge tokens --help");
    if (option_given(line, "learn"))
        return learn(line);
    if (line->positional_count > 1)
        return fault(line, "only --learn takes several files", "sedge tokens --help");
    const struct vocabulary *v = option_vocabulary(line);
    struct source source;
    if (!v || !open_text(line, line->positional[0], &source))
        return diags_exit_code(line->diags);
    if (option_given(line, "decode") && strcmp(line->positional[0], "-") == 0 &&
        token_file_recognize(&source))
        return fault(line, "a file of ids that -o wrote is mapped, and standard input cannot be",
                     "sedge tokens FILE --decode");
    int code = option_given(line, "decode") ? decode(line, v, &source) : encode(line, v, &source);
    source_close(&source);
    return code;
}

const struct command command_tokens = {
    .name = "tokens",
    .usage = "FILE --tokenizer NAME [--ids|--count|--decode] [-o FILE]\n"
             "       sedge tokens --learn N -o DIR FILE…",
    .doc = "a text as ids and back; learn a vocabulary",
    .detail =
        "FILE is a text, or - for standard input; with --decode it is ids: numbers with blanks\n"
        "between them, or a file that -o wrote. Such a file is safetensors with one tensor,\n"
        "`tokens` (int32), and the hash of the vocabulary in its metadata.\n\n"
        "--learn counts pairs of neighbouring symbols within GPT-2's pieces of the text and makes\n"
        "the most frequent one a symbol, until there are N: 256 bytes, merges, and <|endoftext|>;\n"
        "of pairs equally frequent the one with the lower ids. DIR then has vocab.bpe and\n"
        "encoder.json: data.tokenizer=gpt2:DIR.",
    .least = 1,
    .most = POSITIONAL_MAX,
    .options = options,
    .run = run,
};
