/* A recipe: which model, on what data, trained, evaluated and sampled how.
 *
 * Every key stands once in a table (recipe_keys) with its type, default and meaning: reading,
 * `key=value` on the command line, `sedge config`, `sedge explain` and the checks all come from it.
 * Precedence: default, recipe, command line; for params: model, preset, recipe, data, command
 * line. */
#ifndef SEDGE_GRAPH_RECIPE_H
#define SEDGE_GRAPH_RECIPE_H

#include "graph/model.h"

enum key_kind {
    KEY_TEXT,
    KEY_INT,
    KEY_REAL,
    KEY_TEXTS,  /* a list of texts; a single text is a list of one */
    KEY_PAIR,   /* two reals */
    KEY_CHOICE, /* one of the words in CHOICES; `word:PLACE` there is the word with any text */
    KEY_SHARE_OR_FILE, /* a real below 1, or a file's name */
    KEY_SIZE,          /* bytes, as 400MiB */
};

struct recipe_key {
    const char *name; /* dotted path: "train.lr" */
    enum key_kind kind;
    const char *value; /* default, as in YAML; NULL: none */
    double low, high;  /* reals and integers must lie in [low, high] */
    const char *doc;
    const char *choices; /* KEY_CHOICE: "constant cosine linear" */
    size_t offset;       /* into struct recipe */
};
extern const struct recipe_key recipe_keys[];
extern const uint32_t recipe_key_count;

struct texts {
    uint32_t count;
    const char **items;
};

struct data_recipe {
    struct texts files;
    struct texts classes; /* names, one per file; none: the files are one stream */
    struct texts weights; /* numbers, one per file; none: the files are one stream */
    const char *format;
    const char *field, *letters; /* of JSON lines; of FASTA and FASTQ */
    int64_t levels;              /* of images */
    const char *separator;       /* NULL: by the format */
    const char *documents, *windows;
    int64_t stride;        /* of windows that slide; 0: half a window */
    const char *tokenizer; /* NULL: by the data */
    const char *split;
    const char *cache; /* a folder, auto or off */
    double valid;
    const char *valid_file; /* set instead when `valid` names a file */
};
struct train_recipe {
    int64_t steps; /* 0: no limit (then minutes says when to stop) */
    double minutes;
    int64_t batch, accumulate;
    const char *optimizer;
    double lr;
    double betas[2];
    double eps, weight_decay;
    int64_t warmup;
    const char *schedule;
    double clip, ema;
    int64_t eval_every, checkpoint_every, keep, seed;
};
struct eval_recipe {
    int64_t batch, sequences, times;
    const char *estimator; /* of runtime/estimate.h */
    const char *given;     /* NULL: nothing */
    const char *label;     /* NULL: of each window its own; none; or a class */
};
struct sample_recipe {
    int64_t count, batch;
    const char *sampler; /* NULL: the default of the model */
    int64_t steps, seed;
    struct texts grid; /* none: as the loop says */
    int64_t length, context, block;
};

/* Where each key's value came from, parallel to recipe_keys. */
struct key_source {
    enum layer layer;
    struct span span;
    const struct yaml *value;
};

struct recipe {
    const char *path;
    const char *name; /* file name without folder and suffix */
    const char *doc;
    const char *model;
    const char *preset;
    int64_t memory; /* bytes that training may need; 0: any number */
    struct data_recipe data;
    struct train_recipe train;
    struct eval_recipe eval;
    struct sample_recipe sample;
    struct key_source *sources;
    struct setting *settings; /* for the model: params and process.… */
    uint32_t setting_count, setting_capacity;
    struct span preset_span, files_span, memory_span;
    bool model_typed; /* in the command line */
};

/* One `key=value` of the command line, parsed as YAML. */
struct override {
    const char *key;
    const struct yaml *value;
};
/* Parses ARGUMENT; false after reporting. */
bool override_parse(struct diags *diags, struct arena *arena, const char *argument,
                    struct override *out);
/* KEY set to VALUE by an option: BEFORE is what was typed before the value ("--steps "). */
bool override_option(struct diags *diags, struct arena *arena, const char *key, const char *before,
                     const char *value, struct override *out);

/* NULL after reporting all that is wrong. Settings for params are not checked here: only the
 * model knows them (model_read). */
struct recipe *recipe_read(struct arena *arena, struct diags *diags, const char *path,
                           const struct override *overrides, uint32_t count);

/* Adds a param from the data (LAYER_DATA), such as the vocabulary's size. */
void recipe_set_param(struct recipe *recipe, struct arena *arena, const char *key,
                      const char *value);

/* The key `memory`, also where there is no recipe; false after reporting. */
bool recipe_memory(struct diags *diags, struct arena *arena, const struct yaml *value,
                   int64_t *out);

/* Whether the key NAME was said in the command line. */
bool recipe_typed(const struct recipe *recipe, const char *name);

const struct recipe_key *recipe_key_find(const char *name);
const char *recipe_key_nearest(const char *name);
/* The key that is called NAME in its section, as `lr` is train.lr; or NULL. */
const char *recipe_key_ending(const char *name);

#endif
