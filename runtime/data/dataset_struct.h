/* What a dataset is made of; for dataset_open.c, which makes one, and dataset.c, which answers. */
#ifndef SEDGE_DATA_DATASET_STRUCT_H
#define SEDGE_DATA_DATASET_STRUCT_H

#include "runtime/data/corpus.h"
#include "runtime/data/dataset.h"
#include "runtime/data/windows.h"

struct dataset {
    const struct vocabulary *vocabulary;
    struct grammar *grammar; /* NULL for files */
    uint32_t length;
    struct corpus corpus; /* of files; its streams are those of a known language as well */
    struct corpus held;   /* of a known language: what the held-out stream of a file is a part of */
    struct windows train, valid;
    bool drawn;     /* training windows begin anywhere; else each comes once an epoch */
    bool padding;   /* windows may end in separators that count for nothing */
    uint32_t batch; /* training windows of an iteration */
    uint64_t hash;
    const char *description;
    struct dataset **parts; /* of a file each; NULL: none. Else all but the vocabulary is theirs */
    uint32_t part_count;
    bool told;           /* they are classes */
    const double *share; /* of each and those before it, of training windows; NULL: alike */
};

#endif
