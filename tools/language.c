/* What the words of the model format mean. Printed by `sedge explain`; each example is YAML. */
#include "tools/language.h"

const struct language_word language_words[] = {
    {"include",
     "Other model files whose sections are added to this one. They are looked for beside\n"
     "this file, then among the installed models. Included params come first, so this\n"
     "file may give them other values; a block or program is defined once.",
     "include: [sedd-network.yaml, score-entropy.yaml]\n"},
    {"params",
     "Numbers with a name: sizes, rates, switches. A value may be an expression over\n"
     "earlier params (whole numbers stay exact; a division must come out even). A preset,\n"
     "a recipe's `params:`, the data and key=value on the command line override them.",
     "params: {dim: 768, heads: 12, hidden: 4 * dim, dropout: 0.1}\n"},
    {"presets",
     "Named sets of values for params. A recipe picks one with `preset:`, the command\n"
     "line with preset=NAME.",
     "presets:\n  tiny:  {dim: 128, heads: 4}\n  small: {dim: 768, heads: 12}\n"},
    {"process",
     "The forward chain that turns data into noise: its rate matrix and its noise clock\n"
     "sigma(t). It gives the param `states` and the alphabet of type `token`; noising,\n"
     "loss, samplers and the likelihood bound all read this one definition. A model with\n"
     "several chains names each: {words: {rate: …}, tags: {rate: …}}.",
     "process:\n  rate: absorb\n  noise: {loglinear: {eps: 1.0e-3}}\n"},
    {"process.rate",
     "The rate matrix of the chain, Q[y][x] the rate of the jump x -> y; columns sum to zero.\n"
     "  absorb       each token jumps to a mask at rate 1 and stays there; there are vocab + 1\n"
     "               states, the mask last\n"
     "  uniform      each token is redrawn from all tokens at rate 1; vocab states, as below\n"
     "  mix          both, at the given rates; `mask_leaves` says whether a mask is redrawn too\n"
     "  band         rate 1 to each state at a distance of at most `width`; past an end nothing,\n"
     "               or with `ring: true` the other end\n"
     "  groups       redrawn within groups: lists of tokens, a number a token, or a .csv of them;\n"
     "               needs `base:`\n"
     "  matrix       any Q of vocab states, or one more, the mask: a list of rows, a .csv (its\n"
     "               header names the tokens, in any order) or a .safetensors file beside the "
     "file\n"
     "               that names it; `rows: true` where rows sum to zero, not columns\n"
     "Tables (band, groups, matrix) have at most 4096 states. Where a chain ends in the mask a "
     "model\n"
     "includes base-mask.yaml, else base-law.yaml; some ops serve `absorb` alone and say so.",
     "process:\n  rate: {mix: {absorb: 0.9, uniform: 0.1, mask_leaves: true}}\n"
     "  # or: absorb, uniform, {band: {width: 1}}, {groups: [[0, 1], [2]]},\n"
     "  #     {matrix: [[-1, 2], [1, -2]]}, {matrix: rates.csv, rows: true}\n"
     "  noise: {loglinear: {eps: 1.0e-3}}\n"},
    {"process.base",
     "The law that reverse chains start from, where it is not the stationary law of the rate:\n"
     "`uniform`, a number for each state, a .csv file of them (its header names the tokens, in "
     "any\n"
     "order), or the probability of the mask (tokens share the rest). All are positive. Needed "
     "where\n"
     "the chain ends in one of several parts, or a state is left for good. A rate from the "
     "command\n"
     "line drops the file's base.",
     "process:\n  rate: {groups: [[0, 1], [2, 3]]}\n  base: uniform      # or {mask: 0.99}, "
     "[0.1, …]\n  noise: {loglinear: {eps: 1.0e-3}}\n"},
    {"process.project",
     "`off`: bound and samplers use scores as the network gives them. By default (`on`) they are\n"
     "first moved to the nearest that some law of the clean token could have, which never makes "
     "the\n"
     "bound looser. Training does not project. A model with a posterior or cavity head gives such\n"
     "scores anyway. With `off` the rates of scores have no bound: `exact` by thinning multiplies\n"
     "the one of projected scores by the param `cap` and counts violations; samplers and "
     "estimators\n"
     "that take the law of a clean token out of scores (sedd-absorb: `exact`, `ancestral`, …; "
     "--order,\n"
     "--estimator exact-k) are refused.",
     "process:\n  rate: uniform\n  noise: {geometric: {min: 1.0e-4, max: 20}}\n  project: off\n"},
    {"process.noise",
     "The total noise sigma(t), which must grow with t on [0, 1]; its rate is derived from\n"
     "it. With alpha = exp(-sigma):\n"
     "  loglinear       alpha = 1 - (1 - eps) t\n"
     "  geometric       sigma = min^(1-t) max^t\n"
     "  cosine          alpha = cos(pi t / 2)\n"
     "  cosine_squared  alpha = cos(pi t / 2)^2\n"
     "  polynomial      alpha = 1 - t^power\n"
     "  linear          sigma = max t\n"
     "  sigma           any expression in t\n"
     "For absorb, uniform and mix t is held just before 1 where sigma would be infinite there,\n"
     "or leave less than e^-64. `band`, `groups` and `matrix` refuse what is infinite at t = 1:\n"
     "polynomial, loglinear with eps 0, and such expressions, for how much noise such a chain\n"
     "needs is not known. cosine and cosine_squared are finite under every chain: past\n"
     "t = 1 - 2^-30 alpha would have no digits, so that they end there, at sigma 20.3 and 40.7.\n"
     "By t = 1 a token must have some chance to move, and under a table noise of t = 1e-5 on has\n"
     "a square that a double can hold. Choosing another schedule replaces the whole entry.",
     "process:\n  rate: absorb\n  noise: {sigma: \"-log1p(-(1 - 1.0e-3) * t)\"}\n"
     "  # or: cosine, {polynomial: {power: 2}}, {geometric: {min: 1.0e-4, max: 20}}\n"},
    {"blocks",
     "Pieces of networks, called like ops. `in` gives the type of each input (a name that\n"
     "is no param is a dimension, bound by the call), `nodes` computes, `out` names the\n"
     "result or a list of them. Parameters are named after the path of calls.",
     "blocks:\n  mlp:\n    in: {x: [f32, rows, dim]}\n    nodes:\n"
     "      h: {gelu: {linear: x, out: 4 * dim, as: up}}\n"
     "      y: {linear: h, out: dim, as: down}\n    out: y\n"},
    {"programs",
     "What can be run: inputs, nodes, and results under `out:` or `minimize:`. Training\n"
     "runs `train`, samplers call `step` and `denoise`, the bound its own three. All\n"
     "programs of a model share one table of parameters.",
     "programs:\n  train:\n    in: {x0: [token, batch, length]}\n    nodes:\n"
     "      sigma, dsigma: {noise: 0.5}\n      loss: {mean: {score_entropy: […]}}\n"
     "    minimize: loss\n"},
    {"in",
     "Inputs of a block or program by name, each with its type: [dtype, axis, axis, …].\n"
     "dtypes are f32, f64, i32, bool and token. A program's input may have a default; then\n"
     "the run may leave it out.",
     "in:\n  x0: [token, batch, length]\n"
     "  weight: {type: [f32, batch, length], default: 1}\n"},
    {"out",
     "Results. Of a block: a name or a list of names. Of a program: what the caller gets,\n"
     "each under a name of its own.",
     "out: {x: y}      # a program\nout: y           # a block\n"},
    {"nodes",
     "The computation, one value a line: `name: {op: inputs, attribute: value}`. An input\n"
     "is a name, a number, a nested call, or a list of them; several results are named\n"
     "with commas. A name is defined once and before it is used. An attribute that is one\n"
     "of several words takes the word, or a param that holds its place, counted from 0.",
     "nodes:\n  q, k, v: {split: {linear: h, out: 3 * dim}, parts: 3}\n"
     "  a: {attention: [q, k, v], heads: heads}\n"},
    {"repeat",
     "Calls a block several times in a row, each with parameters of its own (NAME.0,\n"
     "NAME.1, …). `carry` goes from one call to the next and is the result; `with` is the\n"
     "same for all. It is unrolled before anything runs.",
     "h: {repeat: ddit_block, times: layers, carry: {x: e}, with: {c: c}, as: blocks}\n"},
    {"as",
     "The component that a call adds to the names of its parameters. Without it a call\n"
     "adds none: two that own a parameter in one place need two names.",
     "h: {linear: x, out: dim, as: mlp.0}      # owns mlp.0.weight and mlp.0.bias\n"},
    {"tie",
     "Says that a call may use a parameter that has another owner in this program: the\n"
     "two share it, and its gradient is the sum over both.",
     "y: {linear: h, out: vocab, bias: false, as: vocab_embed, tie: true}\n"},
    {"want", "Picks one result of a call that has several, by the name that `sedge ops` shows.",
     "sigma: {noise: t, want: sigma}\n"},
    {"with",
     "Values for a call. In a program: params it changes (no dropout when sampling). In\n"
     "`repeat`: inputs that are the same for each turn. In a loop: the inputs of the\n"
     "program that is called.",
     "with: {dropout: 0}                               # a program\n"
     "with: {x: x, t: grid.now, s: grid.next}          # a call in a loop\n"},
    {"weights",
     "Which parameters a program reads: `raw`, those that are trained (the default), or\n"
     "`ema`, their running average.",
     "programs:\n  step:\n    weights: ema\n"},
    {"minimize",
     "The value, one number, that training makes small. The gradient of each parameter\n"
     "the program reads is derived from it.",
     "minimize: loss\n"},
    {"loops",
     "How programs are called again and again, as samplers do: what is carried from call\n"
     "to call, a grid of times, and the calls. A loop ends with its grid, when `until`\n"
     "holds, or after `max` turns.",
     "loops:\n  tweedie:\n    carry: {x: {token: [batch, length], start: base}}\n"
     "    grid: {from: 1, to: t_min, steps: 128, spacing: uniform}\n    body:\n"
     "      - {call: step, with: {x: x, t: grid.now, s: grid.next}, set: {x: x}}\n"
     "      - {call: denoise, when: grid.last, with: {x: x, t: grid.next}, set: {x: x}}\n"},
    {"carry",
     "What a loop keeps between calls: {dtype: [axes], start: …}. It starts as the output\n"
     "of that name of a program (`start: base`), as a number, as `zero`, or as `given` by\n"
     "the run. In `repeat`: the input that goes from turn to turn.",
     "carry: {x: {token: [batch, length], start: base}}\n"},
    {"grid",
     "The times of a loop, from the noisy end down to data, `spacing` uniform, log, cosine\n"
     "or quadratic; or all of them, as `times: [1, 0.5, 0.1]`. `limit: 2` inserts times so\n"
     "that the fastest rate times the fall of sigma is at most 2 over a step, up to a million\n"
     "of them; `table_limit: 2` does so where the rate is `band`, `groups` or `matrix`. The\n"
     "calls may use grid.now, grid.next, grid.index, grid.steps, grid.first and grid.last;\n"
     "sample.steps replaces `steps`, sample.grid all.",
     "grid: {from: 1, to: t_min, steps: 128, spacing: uniform}\n"},
    {"body",
     "The calls of one turn of a loop, in order: the program, when it is called, its\n"
     "inputs, and which carried values its outputs become.",
     "body:\n  - {call: step, with: {x: x, t: grid.now, s: grid.next}, set: {x: x}}\n"},
    {"set",
     "Which carried values take which outputs of the program that was called: all of them,\n"
     "as `x: x`, or one place, as `x: {put: x, at: grid.index}`: then the output has the axes\n"
     "of the carry but one (`axis: 1`, if nothing else is said), and the other places stay. So\n"
     "a text is made symbol by symbol, and a cache filled.",
     "{call: next, with: {x: x, at: grid.index}, set: {x: {put: x, at: grid.index + 1}}}\n"},
    {"when",
     "The condition under which a loop makes a call: an expression over the names of the\n"
     "grid, params, and carried single numbers.",
     "{call: denoise, when: grid.last, with: {x: x, t: grid.next}, set: {x: x}}\n"},
    {"until",
     "The condition, looked at after each turn, that ends a loop. Without a grid, `max` is\n"
     "the turns that there may be until then: where they are not enough, `sample` makes no\n"
     "sample of what is left and says so.",
     "until: left == 0 or grid.index >= 64\n"},
    {"states",
     "A param that the process gives: the number of states of its chain. With `absorb`\n"
     "that is vocab + 1, the mask last; with `uniform` it is vocab.",
     "logits: {linear: h, out: states}\n"},
    {"token",
     "The dtype of a position's state: a whole number below `states`. It carries its\n"
     "process, so that ops know the chain.",
     "x: [token, rows, length]\n"},
    {"given",
     "What may be asked of `sedge sample` beyond the model's own law, and whether what is drawn\n"
     "then has exactly the law asked for: given the network. Each run says it of what it was\n"
     "asked, on stderr and under `exact` and `heuristic` of --json.\n"
     "  the sampler       exact where each symbol is drawn given all before it (left-to-right; but\n"
     "                    the first, where none is given, is any), and where each jump is drawn\n"
     "                    at its own time (`exact`), unless it had to cut a rate. A heuristic: all steps, for symbols that change in the\n"
     "                    same step do not see each other (the more steps, the fewer); orders of\n"
     "                    confidence, even at one symbol a step, for the law of the model is that\n"
     "                    of any order, and confidence-keep-best, where what is kept is likelier\n"
     "                    than the law says (neither with confidence_by=3, at random); a loop of\n"
     "                    one's own that has no times and no jumps\n"
     "  known positions   (--prefix, --suffix, --infill, --template) exact from left to\n"
     "                    right, for what comes first, and for `absorb` with a\n"
     "                    network that is not told the noise level (radd). A heuristic\n"
     "                    otherwise: told the level, a network expects its share of masks; under\n"
     "                    other chains what is known is put back after each step\n"
     "  allowed sets      ({set:…}, {not:…}) a heuristic: positions are held to them one by one\n"
     "  --label           exact at gamma 1 where the score was trained with it (labelled)\n"
     "  --gamma           a heuristic for all but 1 and 0 (no label): scores move along the "
     "difference that the\n"
     "                    label makes, and no noise process has that law\n"
     "  an energy         (guided, guidance.yaml) to first order, by its gradient at the noisy\n"
     "                    tokens: exact only where it is linear in them, gamma is 1 and it is\n"
     "                    log p(what is wanted | noisy tokens); a heuristic otherwise\n"
     "  --temperature, --top-p, --top-k\n"
     "                    a heuristic: they change the law of each token, not that of the text.\n"
     "                    For samplers that draw from a law of a token (left-to-right, ancestral,\n"
     "                    remask, first hitting, confidence-…); samplers by scores refuse them\n"
     "  --length          beyond the model's own a heuristic: a block sees only its context\n"
     "The samplers named by confidence choose where to go on by what the network is sure of.\n"
     "Of a known language a run also says how far what it drew for one free symbol is from the\n"
     "law that the grammar has there, in total variation, and how far chance alone would be.",
     "sedge sample RUN --infill 'best of {mask:12} times'\n"
     "sedge sample RUN --label letters --gamma 1.5 --json\n"},
    {"key=value",
     "Sets a param or a recipe key by its dotted path, for any command that takes a recipe\n"
     "or a model. The value is read as YAML. Unknown keys are errors.",
     "sedge train text train.lr=1.0e-3 params.length=256 process.noise='{geometric: {max: 20}}'\n"},
};
const uint32_t language_word_count = sizeof language_words / sizeof *language_words;
