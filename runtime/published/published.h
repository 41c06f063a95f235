/* Weights as they are published: under which names, and how they become those of a model that is
 * shipped.
 *
 *   gpt2   Radford et al. 2019, as in PyTorch checkpoints of it
 *   sedd   Lou, Meng, Ermon 2024: absorb or uniform, by the number of states
 *   mdlm   Sahoo et al. 2024, without conditioning on time, as it was published
 *   radd   Ou et al. 2024
 *
 * Names and shapes of the models are those of the publications (sedd-network.yaml,
 * radd-network.yaml, gpt2.yaml), so that a family is what its table says of the rest: which tensor
 * gives which param, which tensors are no weights. */
#ifndef SEDGE_PUBLISHED_PUBLISHED_H
#define SEDGE_PUBLISHED_PUBLISHED_H

#include "graph/base/safetensors.h"

#define PUBLISHED_PARAMS_MAX 8

struct published_param {
    const char *name;
    int64_t value;
};

struct published; /* a family */

/* NULL: there is none of that name. */
const struct published *published_find(const char *name);
/* That of weights of MODEL (a name without folder and suffix), or NULL. */
const struct published *published_of_model(const char *model);
const char *published_name(const struct published *family);
/* By number; NULL after the last. */
const struct published *published_at(uint32_t index);

/* What a file holds for a family. */
struct published_weights {
    const struct published *family;
    const char *prefix; /* before its names there, with the dot: "model.module." */
    const char *model;  /* that they are weights of */
    struct published_param params[PUBLISHED_PARAMS_MAX];
    uint32_t param_count;
    /* Under the names of the model, in single precision; averages as ema/NAME. */
    struct tensor_file tensors;
    bool averaged;  /* averages of all were there */
    uint32_t other; /* tensors that were left: of optimizers and so on */
};

/* Finds the weights of FAMILY in FILE, which must stay open. SYMBOLS: how many the
 * vocabulary has, by which the chain is told. CONFIG: text of the config.json that was beside it,
 * or NULL; what it says must agree. False after reporting FAULT_DATA. */
bool published_read(struct diags *diags, struct arena *arena, const struct published *family,
                    const struct tensor_file *file, int64_t symbols, const char *config,
                    struct published_weights *out);

/* The other way: the parameters of CHECKPOINT, or their averages where AVERAGED and there are any;
 * their names and shapes are those of the publication. False after reporting. */
bool published_write(struct diags *diags, struct arena *arena, const struct tensor_file *checkpoint,
                     bool averaged, const char *path);

#endif
