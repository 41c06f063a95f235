/* Kinds of data files, each a reader of documents: what one file holds, one text after the other.
 *
 *   text     the file is one document
 *   lines    each line is one; empty lines are none
 *   jsonl    JSON lines: one object a line, of which a field is the document
 *   smiles   the first word of each line (a name may follow it)
 *   fasta    runs of letters of an alphabet, in capitals: a record, divided at what is no certain
 *            letter (N and the other codes for several)
 *   fastq    the same of reads, four lines a record; qualities are not read
 *   idx      images as LeCun's MNIST has them, bytes in three or more dimensions: a digit for each
 *            pixel (its grey level, from 0), row by row
 *   tokens   ids, as `sedge tokens -o` writes them (token_file.h): no text
 *
 * Lines end in \n or \r\n. Every kind but tokens, which are mapped, may be compressed by gzip
 * (source.h does that). To add a kind: a `struct format` in a file format_NAME.c, and its name in
 * the list of format.c and in data.format. */
#ifndef SEDGE_DATA_FORMAT_H
#define SEDGE_DATA_FORMAT_H

#include "runtime/data/vocabulary.h"

#define FORMAT_LEVELS 16
#define FORMAT_LEVELS_MOST 36 /* grey levels that have a digit: 0 to 9, a to z */
#define FORMAT_LEVELS_BYTE 256

struct format_options {
    const char *format;  /* data.format: a name of those above; NULL or "auto": by what it is */
    const char *field;   /* of jsonl; NULL: "text" */
    const char *letters; /* of fasta and fastq: dna, rna or protein; NULL: dna */
    uint32_t levels;     /* of idx: 2 to FORMAT_LEVELS_MOST, or FORMAT_LEVELS_BYTE, where a pixel is
                          * its byte; 0: FORMAT_LEVELS */
    const struct vocabulary *vocabulary; /* of tokens: what the ids are; NULL: not known */
    bool any_bytes;    /* the tokenizer reads any: what is no text is left as it is */
    struct span where; /* the recipe's `data`, for faults that no file has */
};

struct document {
    /* A part of the file, or made from one: with its name, and the lines before it, so that faults
     * found in it have a place. Valid until the next document is asked for. */
    struct source text;
    /* Of `tokens`, in place of TEXT: valid while the reader is open. */
    const int32_t *ids;
    size_t id_count;
};

struct reader {
    struct diags *diags;
    struct arena *arena;
    const struct format *format;
    const struct format_options *options;
    struct source source; /* the file, borrowed */
    size_t at;            /* the next byte to look at, */
    uint32_t line;        /* and the lines before it */
    bool failed;          /* a fault was reported */
    const char *alphabet; /* all symbols that a document can have, each a character; NULL: any */
    /* For the format alone: */
    char *buffer; /* on the heap */
    size_t room;
    void *held;
    uint64_t sizes[2];
    unsigned char table[256];
};

struct format {
    const char *name;
    bool (*recognize)(const struct source *source); /* NULL: has to be asked for */
    bool (*open)(struct reader *reader);            /* NULL: nothing to do */
    bool (*next)(struct reader *reader, struct document *out);
    void (*close)(struct reader *reader); /* NULL: nothing to do */
    /* What two documents share if one says the same as the other, so that they are held out
     * together; NULL: their text. */
    uint64_t (*identity)(const struct reader *reader, const struct document *document);
    bool joined; /* documents are parts of one text: windows may lie across them */
    bool ended;  /* the end of a document is a symbol, where the recipe does not say */
};

/* The format that OPTIONS ask for, or that SOURCE is seen to be of; NULL after reporting
 * FAULT_CONFIG: no such format, or options that it has not. */
const struct format *format_find(struct diags *diags, const struct source *source,
                                 const struct format_options *options);

/* Reads SOURCE, which stays open as long, from its first document on. OPTIONS and ARENA are
 * borrowed. False after reporting FAULT_DATA; reader_close is due either way. */
bool reader_open(struct reader *reader, struct diags *diags, struct arena *arena,
                 const struct format *format, const struct source *source,
                 const struct format_options *options);
/* False at the end, and where READER->failed. A document may be empty. */
bool reader_next(struct reader *reader, struct document *out);
uint64_t reader_identity(const struct reader *reader, const struct document *document);
void reader_close(struct reader *reader);

/* --- for formats ---------------------------------------------------------------------------- */

/* The line at AT without what ends it; AT moves to the next. False at the end of the file. */
bool reader_line(struct reader *reader, const char **text, size_t *size);
/* SIZE bytes of the buffer, with what was in it. */
char *reader_buffer(struct reader *reader, size_t size);
/* A document of SIZE bytes at TEXT, with LINES lines before it. */
void reader_give(const struct reader *reader, const char *text, size_t size, uint32_t lines,
                 struct document *out);
/* Reports that the data at byte OFFSET is WHAT, with a place; returns false, and READER fails. */
bool reader_fault(struct reader *reader, size_t offset, uint32_t length, const char *what);
/* Whether the file's name, without .gz, ends in one of a list with blanks between: ".fa .fasta". */
bool source_ends_in(const struct source *source, const char *endings);
void reader_skip_mark(struct reader *reader); /* U+FEFF at the start */

extern const struct format format_text, format_lines, format_jsonl, format_smiles, format_fasta,
    format_fastq, format_idx, format_tokens;

#endif
