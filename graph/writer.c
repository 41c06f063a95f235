/* Growing text. Called by the text form and the drawing. */
#include "graph/writer.h"

#include <stdio.h>
#include <string.h>

static void make_room(struct writer *w, size_t more)
{
    if (w->length + more < w->capacity)
        return;
    size_t capacity = (w->length + more) * 2 + 256;
    char *larger = arena_new_array(w->arena, char, capacity);
    if (w->length)
        memcpy(larger, w->text, w->length);
    w->text = larger;
    w->capacity = capacity;
}

void write_text(struct writer *writer, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0)
        return;
    make_room(writer, (size_t)length + 1);
    va_start(args, format);
    vsnprintf(writer->text + writer->length, (size_t)length + 1, format, args);
    va_end(args);
    writer->length += (size_t)length;
}

bool writer_bare(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("_./-", c));
}

void write_quoted(struct writer *writer, const char *text)
{
    write_text(writer, "\"");
    for (const char *c = text; *c; c++) {
        if (*c == '"' || *c == '\\')
            write_text(writer, "\\%c", *c);
        else if ((unsigned char)*c < ' ' || *c == 127)
            write_text(writer, "\\x%02x", (unsigned)(unsigned char)*c);
        else
            write_text(writer, "%c", *c);
    }
    write_text(writer, "\"");
}

void write_name(struct writer *writer, const char *name)
{
    bool bare = *name;
    for (const char *c = name; *c; c++)
        bare &= writer_bare(*c);
    if (bare)
        write_text(writer, "%s", name);
    else
        write_quoted(writer, name);
}
