/* The pickled object of a PyTorch checkpoint, read without running anything.
 *
 * Python's pickle is a program for a stack machine that may import any function and call it. Here
 * the opcodes that build numbers, texts, lists, dictionaries and tensors are read, at protocols 2
 * to 5; of what a pickle may import, only what tensors are made of has a meaning, and any other
 * name is refused before anything is done with it. */
#ifndef SEDGE_PUBLISHED_PICKLE_H
#define SEDGE_PUBLISHED_PICKLE_H

#include "graph/base/diag.h"

enum pickle_kind {
    PICKLE_NONE,
    PICKLE_BOOL,
    PICKLE_INT,
    PICKLE_REAL,
    PICKLE_TEXT,  /* or bytes */
    PICKLE_LIST,  /* also a tuple or a set */
    PICKLE_DICT,  /* ITEMS: keys and values in turn */
    PICKLE_NAME,  /* what was imported: one of the names that are allowed */
    PICKLE_STORE, /* the memory of a tensor, in an entry of the archive */
    PICKLE_TENSOR,
    PICKLE_MARK, /* none: a place on the stack */
};

/* What a number is stored as. */
enum stored {
    STORED_F32,
    STORED_F64,
    STORED_F16,
    STORED_BF16,
    STORED_I64,
    STORED_I32,
    STORED_OTHER
};

#define PICKLE_RANK_MAX 8

struct pickle {
    enum pickle_kind kind;
    enum stored stored; /* STORE, TENSOR */
    int64_t integer;    /* INT, BOOL; STORE: how many numbers; NAME: which */
    double real;
    const char *text; /* TEXT, NAME; STORE: the name of the entry */
    struct pickle **items;
    uint32_t count, capacity;
    /* TENSOR: element [i, j, …] is number OFFSET + i * stride[0] + j * stride[1] + … of STORE. */
    struct pickle *store;
    int64_t offset;
    uint32_t rank;
    int64_t dim[PICKLE_RANK_MAX], stride[PICKLE_RANK_MAX];
};

/* The object that SIZE bytes describe. It may hold itself: walk it with a limit. NULL after
 * reporting FAULT_DATA about the file PATH. */
struct pickle *pickle_read(struct diags *diags, struct arena *arena, const char *path,
                           const unsigned char *bytes, size_t size);

#endif
