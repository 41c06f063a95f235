/* Sequences of letters: FASTA, and reads in FASTQ. */
#include "runtime/data/format.h"

#include "graph/base/check.h"
#include "graph/base/random.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Letters by the codes of IUPAC; BREAKS are those that say several, where a document ends. */
static const struct letters {
    const char *name, *alphabet, *breaks;
} kinds[] = {{"dna", "ACGT", "NRYSWKMBDHV"},
             {"rna", "ACGU", "NRYSWKMBDHV"},
             {"protein", "ACDEFGHIKLMNPQRSTVWY", "BJOUXZ*"}};
#define KIND_COUNT (sizeof kinds / sizeof *kinds)

enum { NO_LETTER = 0, BREAK = 1, BLANK = 2 }; /* in the table; else the letter in capitals */

static const struct letters *find_letters(const struct reader *r)
{
    const char *name = r->options->letters ? r->options->letters : "dna";
    for (size_t i = 0; i < KIND_COUNT; i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return NULL;
}

static bool open_letters(struct reader *r)
{
    const struct letters *k = find_letters(r);
    BUG_ON(!k); /* data.letters is a choice */
    for (const char *c = k->alphabet; *c; c++)
        r->table[(unsigned char)*c] = r->table[tolower((unsigned char)*c)] = (unsigned char)*c;
    for (const char *c = k->breaks; *c; c++)
        r->table[(unsigned char)*c] = r->table[tolower((unsigned char)*c)] = BREAK;
    for (const char *c = " \t\r\n"; *c; c++)
        r->table[(unsigned char)*c] = BLANK;
    r->alphabet = k->alphabet;
    reader_skip_mark(r);
    return true;
}

static bool bad_letter(struct reader *r, size_t offset)
{
    const struct letters *k = find_letters(r);
    unsigned char c = (unsigned char)r->source.text[offset];
    char what[80];
    if (c >= 0x20 && c < 0x7f)
        snprintf(what, sizeof what, "the letter `%c` is none of %s", c, k->name);
    else
        snprintf(what, sizeof what, "the byte 0x%02x is no letter", c);
    reader_fault(r, offset, 1, what);
    if (strcmp(k->name, "protein") != 0 && memchr("EFILPQZX*", toupper(c), 9))
        diag_hint(r->diags, "these may be amino acids: data.letters=protein reads them");
    else if (strchr("UuTt", c) && c)
        diag_hint(r->diags, "data.letters=%s reads it", toupper(c) == 'U' ? "rna" : "dna");
    diag_hint(r->diags, "%s has the letters %s, divided at %s; data.format=text reads any text",
              k->name, k->alphabet, k->breaks);
    return false;
}

/* The letters of TEXT from *AT on, up to one that divides; they are added to the N in the buffer.
 * *AT moves past what was read. False after reporting. */
static bool take(struct reader *r, size_t *at, size_t end, size_t *n, bool *divided)
{
    const char *text = r->source.text;
    char *out = reader_buffer(r, *n + (end - *at));
    *divided = false;
    while (*at < end) {
        unsigned char kind = r->table[(unsigned char)text[*at]];
        if (kind == NO_LETTER)
            return bad_letter(r, *at);
        ++*at;
        if (kind == BREAK && *n) {
            *divided = true;
            return true;
        }
        if (kind > BLANK)
            out[(*n)++] = (char)kind;
    }
    return true;
}

static size_t line_end(const struct reader *r)
{
    const char *from = r->source.text + r->at;
    const char *end = memchr(from, '\n', r->source.size - r->at);
    return end ? (size_t)(end - r->source.text) + 1 : r->source.size;
}

/* --- FASTA ------------------------------------------------------------------------------------ */

static bool is_fasta(const struct source *source)
{
    return source->size && source->text[0] == '>';
}

/* sizes: whether there was a header, and where the line ends that was last looked at. */
static bool next_fasta(struct reader *r, struct document *out)
{
    size_t n = 0;
    uint32_t line = r->line;
    while (r->at < r->source.size) {
        if (r->at >= r->sizes[1]) /* once a line, however many documents it holds */
            r->sizes[1] = line_end(r);
        size_t end = r->sizes[1];
        char c = r->source.text[r->at];
        bool begins = r->at == 0 || r->source.text[r->at - 1] == '\n' || !r->sizes[0];
        if (begins && c == '>' && n)
            break;
        if (begins && (c == '>' || c == ';')) { /* a header, or a comment of old */
            r->sizes[0] |= c == '>';
            r->at = end;
            r->line++;
            continue;
        }
        if (!r->sizes[0])
            return reader_fault(r, r->at, 1, "FASTA begins with a header, a line after `>`");
        bool divided;
        line = n ? line : r->line;
        if (!take(r, &r->at, end, &n, &divided))
            return false;
        r->line += r->at == end;
        if (divided)
            break;
    }
    reader_give(r, r->buffer, n, line, out);
    return n > 0;
}

static char opposite(char c, char pair_of_a)
{
    return c == 'A' ? pair_of_a : c == 'C' ? 'G' : c == 'G' ? 'C' : 'A';
}

/* Of a strand and the one that it is paired with the same. */
static uint64_t strand_identity(const struct reader *r, const struct document *d)
{
    uint64_t one = hash_bytes(d->text.text, d->text.size);
    if (strlen(r->alphabet) != 4)
        return one;
    char *other = heap_resize(NULL, d->text.size, 1);
    for (size_t i = 0; i < d->text.size; i++)
        other[i] = opposite(d->text.text[d->text.size - 1 - i], r->alphabet[3]);
    uint64_t two = hash_bytes(other, d->text.size);
    free(other);
    return one < two ? one : two;
}

const struct format format_fasta = {.name = "fasta",
                                    .recognize = is_fasta,
                                    .open = open_letters,
                                    .next = next_fasta,
                                    .identity = strand_identity};

/* --- FASTQ ------------------------------------------------------------------------------------ */

static bool is_fastq(const struct source *source)
{
    return source->size && source->text[0] == '@' && source_ends_in(source, ".fq .fastq");
}

/* A line of the record, or a fault that says which is missing. */
static bool record_line(struct reader *r, const char *what, const char **text, size_t *size)
{
    return reader_line(r, text, size) || reader_fault(r, r->source.size - 1, 1, what);
}

/* The four lines of a record: *AT to *END are its letters. */
static bool record(struct reader *r)
{
    static const char cut[] = "the file ends within a record, which has four lines";
    const char *head, *letters, *plus, *quality;
    size_t size, count, marks;
    do {
        if (!reader_line(r, &head, &size))
            return false;
    } while (size == 0);
    size_t at = (size_t)(head - r->source.text);
    if (*head != '@')
        return reader_fault(r, at, 1, "a record of FASTQ begins with `@`");
    if (!record_line(r, cut, &letters, &count) || !record_line(r, cut, &plus, &size))
        return false;
    if (size == 0 || *plus != '+')
        return reader_fault(r, (size_t)(plus - r->source.text), 1,
                            "the third line of a record begins with `+`");
    if (!record_line(r, cut, &quality, &marks))
        return false;
    if (marks != count)
        return reader_fault(r, (size_t)(quality - r->source.text), 1,
                            "there are not as many qualities as letters");
    r->sizes[0] = (uint64_t)(letters - r->source.text);
    r->sizes[1] = r->sizes[0] + count;
    return true;
}

static bool next_fastq(struct reader *r, struct document *out)
{
    size_t n = 0;
    while (n == 0) {
        if (r->sizes[0] == r->sizes[1] && !record(r))
            return false;
        size_t at = r->sizes[0];
        bool divided;
        if (!take(r, &at, r->sizes[1], &n, &divided))
            return false;
        r->sizes[0] = at;
    }
    reader_give(r, r->buffer, n, r->line - 3, out);
    return true;
}

const struct format format_fastq = {.name = "fastq",
                                    .recognize = is_fastq,
                                    .open = open_letters,
                                    .next = next_fastq,
                                    .identity = strand_identity};
