/* Recipes, a grammar and a model to start from. What is here passes `sedge check` as written. */
#include "tools/templates.h"

/* Each line of a file is a line here. */
/* clang-format off */
static const char text_recipe[] =
    "# A recipe: which model, on what data, trained how. Each key can be given on the command line\n"
    "# as well (sedge train my.yaml train.minutes=30), `sedge explain KEY` says what it means, and\n"
    "# keys left out have the defaults that `sedge config my.yaml` shows.\n"
    "sedge: 1\n"
    "doc: My first text model\n"
    "model: sedd-absorb                  # or sedd-uniform, or a model file of your own\n"
    "preset: tiny                        # its size; `sedge check sedd-absorb preset=mini` weighs one\n"
    "# memory: 2GiB                      # what training may need; `sedge plan my.yaml`: at what cost\n"
    "params:\n"
    "  length: 128                       # symbols in a window\n"
    "  dropout: 0.05\n"
    "data:\n"
    "  files: [my.txt]                   # your text, one or more files\n"
    "  tokenizer: chars                  # chars, bytes, words, gpt2:DIR, bert:DIR\n"
    "  valid: 0.1                        # the last tenth is held out\n"
    "train:\n"
    "  minutes: 10                       # or steps: 5000\n"
    "  batch: 32\n"
    "  lr: 2.0e-3\n"
    "  schedule: cosine\n"
    "sample:\n"
    "  count: 4\n"
    "  steps: 128                        # more steps, fewer mistakes\n";

static const char grammar_recipe[] =
    "# A recipe that learns a known language: the exact likelihood of each held-out window is\n"
    "# known, so the model's bound can be held against the truth.\n"
    "sedge: 1\n"
    "doc: A model of my own grammar\n"
    "model: sedd-absorb\n"
    "preset: tiny\n"
    "params: {length: 32, dropout: 0}\n"
    "data:\n"
    "  files: [my-grammar.yaml]\n"
    "  tokenizer: words\n"
    "  valid: 0.02\n"
    "train: {minutes: 2, batch: 64, lr: 2.0e-3, schedule: cosine}\n"
    "eval: {batch: 64, sequences: 512}\n"
    "sample: {count: 8, batch: 8, steps: 64}\n";

static const char grammar_file[] =
    "# A grammar: from a state one of its arcs is taken, with probability in proportion to `weight`\n"
    "# (1 when not given); it says its text and goes on to another state. Each text is whole words\n"
    "# with a blank after each. What was said early can be remembered in the state: here the\n"
    "# subject decides the form of the verb, however many words lie between them.\n"
    "grammar: 1\n"
    "doc: Cats and dogs, one or several\n"
    "start: S\n"
    "states:\n"
    "  S:\n"
    "    - {say: \"the cat \", go: one, weight: 2}\n"
    "    - {say: \"a dog \", go: one}\n"
    "    - {say: \"the cats \", go: many}\n"
    "    - {say: \"two dogs \", go: many}\n"
    "  one:\n"
    "    - {say: \"in the garden \", go: one_verb}\n"
    "    - {say: \"that nobody knows \", go: one_verb}\n"
    "  one_verb:\n"
    "    - {say: \"sleeps. \", go: S}\n"
    "    - {say: \"sees a bird. \", go: S, weight: 2}\n"
    "  many:\n"
    "    - {say: \"in the garden \", go: many_verb}\n"
    "    - {say: \"that nobody knows \", go: many_verb}\n"
    "  many_verb:\n"
    "    - {say: \"sleep. \", go: S}\n"
    "    - {say: \"see a bird. \", go: S, weight: 2}\n";

static const char model_recipe[] =
    "# A recipe for the model beside it, on the smallest known language that sedge comes with.\n"
    "sedge: 1\n"
    "doc: My own model on the toy grammar\n"
    "model: my-model\n"
    "preset: small\n"
    "data:\n"
    "  files: [grammars/toy.yaml]        # or your text: [my.txt]\n"
    "  valid: 0.02\n"
    "train: {minutes: 1, batch: 64, lr: 2.0e-3, warmup: 50, schedule: cosine}\n"
    "eval: {batch: 64, sequences: 512}\n"
    "sample: {count: 8, batch: 8, steps: 64}\n";

static const char model_file[] =
    "# A model of your own. `sedge check my-model.yaml` weighs it and finds every error;\n"
    "# `sedge plan my-model.yaml --svg graph.svg` draws it; `sedge ops` lists what it can be built of.\n"
    "sedge: 1\n"
    "doc: A small transformer for score-entropy diffusion\n"
    "include: [score-entropy.yaml]       # training, reverse steps, the bound and the samplers\n"
    "\n"
    "params: {vocab: 64, length: 32, dim: 64, heads: 4, layers: 2, dropout: 0}\n"
    "presets:\n"
    "  small: {dim: 64, layers: 2}\n"
    "  large: {dim: 256, heads: 8, layers: 6}\n"
    "\n"
    "process:                            # the forward chain: tokens are masked, one by one\n"
    "  rate: absorb\n"
    "  noise: {loglinear: {eps: 1.0e-3}}\n"
    "\n"
    "blocks:\n"
    "  layer:                            # x is what is carried on, c says how noisy the input is\n"
    "    in:\n"
    "      x: [f32, rows, length, dim]\n"
    "      c: [f32, rows, dim]\n"
    "    nodes:\n"
    "      shift, scale: {split: {linear: c, out: 2 * dim, init: zeros, as: noise}, parts: 2}\n"
    "      h: {modulate: [{layer_norm: x, as: norm1}, shift, scale]}\n"
    "      q, k, v: {split: {linear: h, out: 3 * dim, as: qkv}, parts: 3}\n"
    "      a: {attention: [{rope: q, heads: heads}, {rope: k, heads: heads}, v], heads: heads}\n"
    "      x1: {add: [x, {linear: a, out: dim, as: mix}]}\n"
    "      m: {gelu: {linear: {layer_norm: x1, as: norm2}, out: 4 * dim, as: up}}\n"
    "      y: {add: [x1, {linear: m, out: dim, as: down}]}\n"
    "    out: y\n"
    "\n"
    "  log_score:                        # the one block that the included programs call\n"
    "    in:\n"
    "      x: [token, rows, length]\n"
    "      sigma: [f64, rows]            # total noise\n"
    "    nodes:\n"
    "      e: {embedding: x, out: dim, as: tokens}\n"
    "      c: {silu: {linear: {timestep_features: sigma, size: 64}, out: dim, as: sigma}}\n"
    "      h: {repeat: layer, times: layers, carry: {x: e}, with: {c: c}, as: layers}\n"
    "      raw: {linear: {layer_norm: h, as: norm}, out: states, init: zeros, as: head}\n"
    "      y: {score_output: [raw, x, sigma], scale_by_sigma: true}\n"
    "    out: y\n"
    "\n"
    "programs:\n"
    "  base:                             # where samplers start: masks, but for the little that is\n"
    "    in:                             # left of the data at t = 1, which the network draws\n"
    "      t: [f64, batch]\n"
    "    with: {dropout: 0}\n"
    "    weights: ema\n"
    "    nodes:\n"
    "      sigma: {noise: t, want: sigma}\n"
    "      mask: {stationary: {shape: [batch, length]}}\n"
    "      x: {base_draw: [mask, sigma], log_score: {log_score: [mask, sigma]}}\n"
    "    out: {x: x}\n"
    "\n"
    "  bound_base:                       # what that start costs in the likelihood bound\n"
    "    in:\n"
    "      x0: [token, batch, length]\n"
    "      t: [f64, batch]\n"
    "    with: {dropout: 0}\n"
    "    weights: ema\n"
    "    nodes:\n"
    "      sigma: {noise: t, want: sigma}\n"
    "      mask: {stationary: {shape: [batch, length]}}\n"
    "      cost: {base_cost: [x0, sigma], log_score: {log_score: [mask, sigma]}}\n"
    "      nats: {sum: cost, axis: 1}\n"
    "    out: {nats: nats}\n";

/* clang-format on */

const struct template templates[] = {
    {"text", "a recipe that learns your text", {{"my.yaml", text_recipe}}, "my.txt"},
    {"grammar",
     "a grammar of your own, and a recipe that learns it",
     {{"my.yaml", grammar_recipe}, {"my-grammar.yaml", grammar_file}},
     NULL},
    {"model",
     "a small model of your own, and a recipe that trains it",
     {{"my.yaml", model_recipe}, {"my-model.yaml", model_file}},
     NULL},
};
const uint32_t template_count = sizeof templates / sizeof *templates;
