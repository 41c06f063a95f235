/* JSON lines: of each line's object a field. */
#include "runtime/data/format.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define KEYS_SHOWN 8

static bool is_jsonl(const struct source *source)
{
    return source_ends_in(source, ".jsonl .ndjson");
}

static bool open_jsonl(struct reader *r)
{
    reader_skip_mark(r);
    return true;
}

static void drop(struct reader *r)
{
    json_decref(r->held);
    r->held = NULL;
}

static bool is_blank(const char *text, size_t size)
{
    size_t at = 0;
    while (at < size && (text[at] == ' ' || text[at] == '\t'))
        at++;
    return at == size;
}

/* What jansson says, where the line cannot be read. */
static bool fault(struct reader *r, size_t offset, size_t size, const json_error_t *error)
{
    size_t at = error->position > 0 ? (size_t)error->position - 1 : 0;
    char what[JSON_ERROR_TEXT_LENGTH + 32];
    snprintf(what, sizeof what, "this line is no JSON: %s", error->text);
    reader_fault(r, offset + (at < size ? at : size ? size - 1 : 0), 1, what);
    diag_hint(r->diags, "each line is an object of its own: {\"text\": \"…\"}; "
                        "data.format=text reads the file as it is");
    return false;
}

static bool lacks(struct reader *r, const char *line, const char *field, const json_t *value)
{
    char what[200];
    snprintf(what, sizeof what,
             value ? "the field `%.100s` is no text" : "this line has no field `%.100s`", field);
    reader_fault(r, (size_t)(line - r->source.text), 1, what);
    const char *key;
    json_t *other;
    char names[400] = "";
    size_t n = 0;
    json_object_foreach(r->held, key,
                        other) if (json_is_string(other) && n++ < KEYS_SHOWN && strlen(names) < 300)
        snprintf(names + strlen(names), 60, "%s%.50s", n > 1 ? ", " : "", key);
    if (n)
        diag_hint(r->diags, "data.field=NAME; fields of it with text: %s", names);
    return false;
}

static bool next_jsonl(struct reader *r, struct document *out)
{
    const char *text, *field = r->options->field ? r->options->field : "text";
    size_t size;
    json_error_t error;
    drop(r);
    do {
        if (!reader_line(r, &text, &size))
            return false;
    } while (is_blank(text, size));
    r->held = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!r->held)
        return fault(r, (size_t)(text - r->source.text), size, &error);
    const json_t *value = json_object_get(r->held, field);
    if (!json_is_string(value))
        return lacks(r, text, field, value);
    reader_give(r, json_string_value(value), json_string_length(value), r->line - 1, out);
    return true;
}

const struct format format_jsonl = {.name = "jsonl",
                                    .recognize = is_jsonl,
                                    .open = open_jsonl,
                                    .next = next_jsonl,
                                    .close = drop,
                                    .joined = true,
                                    .ended = true};
