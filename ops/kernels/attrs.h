/* Positions of attributes, shared by the descriptor of an op and its kernels: attr[LINEAR_OUT]. */
#ifndef SEDGE_KERNEL_ATTRS_H
#define SEDGE_KERNEL_ATTRS_H

/* Families add their enums here, in the order of their descriptor's attribute table. */

/* elementwise */
enum { GELU_FORM };
enum { GELU_TANH, GELU_ERF };
enum { CAST_TO };

/* leaves and draws */
enum { CONST_VALUE };
enum { UNIFORM_SHAPE, UNIFORM_LOW, UNIFORM_HIGH, UNIFORM_STRATIFIED };

/* reductions and layout */
enum { REDUCE_AXIS, REDUCE_KEEP };
enum { SPLIT_PARTS, SPLIT_AXIS };
enum { CONCAT_AXIS };
enum { SHAPE_DIMS }; /* reshape, sum_to, broadcast_to */
enum { EXPAND_AXIS };
enum { SLICE_AXIS, SLICE_FROM, SLICE_SIZE };
enum { GATHER_AXES };
enum { SCATTER_ROWS };
enum { OWNER_OF };
enum { POSITIONS_SIZE, POSITIONS_MOST };
enum { INDEX_AXIS }; /* take, put */

/* transformer */
enum { LINEAR_OUT, LINEAR_BIAS, LINEAR_LAYOUT, LINEAR_INIT, LINEAR_STD };
enum { LAYOUT_OUT_IN, LAYOUT_IN_OUT };
enum { WEIGHT_GRAD_LAYOUT };
enum { THEN_LAYOUT, THEN_WHAT, THEN_FORM, THEN_KEEP };
enum linear_then { THEN_GELU, THEN_GELU_BACKWARD, THEN_ADD, THEN_GATED_ADD };
enum { EMBEDDING_OUT, EMBEDDING_INIT, EMBEDDING_STD, EMBEDDING_NAME, EMBEDDING_ROWS };
enum { EMBEDDING_BACKWARD_ROWS };
enum { ONE_HOT_ROWS };
enum { NORM_BIAS, NORM_EPS };
enum { NORM_MODULATE_EPS };
#define NORM_BLOCKS 64 /* partial sums over rows in the backward op: sizes its workspace */
enum { ATTENTION_HEADS, ATTENTION_CAUSAL, ATTENTION_ROPE };
enum { ROPE_HEADS, ROPE_BASE, ROPE_INVERSE };
enum { HEAD_ENTROPY_LAYOUT };
enum { HEAD_LOSS_LAYOUT, HEAD_LOSS_FORM, HEAD_LOSS_SCALE };
enum { HEAD_DRAW_LAYOUT, HEAD_DRAW_FORM, HEAD_DRAW_STEP, HEAD_DRAW_SCALE, HEAD_DRAW_PROJECT };
enum { HEAD_BOUND_TERM = HEAD_DRAW_STEP }; /* its others are those of head_draw */
enum bound_term { TERM_ENTROPY, TERM_BASE, TERM_RECONSTRUCTION, BOUND_TERMS };
enum draw_form { DRAW_BY_SCORE, DRAW_BY_LAW, DRAW_BY_CAVITY, DRAW_FORMS };
enum draw_step {
    DRAW_TWEEDIE,
    DRAW_EULER,
    DRAW_EULER_LINEAR,
    DRAW_DENOISE,
    DRAW_ANCESTRAL,
    DRAW_REMASK,
    DRAW_CORRECT,
    DRAW_BASE,
    DRAW_REVEAL,
    DRAW_STEPS
};
enum { FORM_SCORE, FORM_LAW, FORM_LAW_SCORE, FORM_CAVITY };
enum { DROPOUT_P };
enum { FEATURES_SIZE, FEATURES_PERIOD };

/* diffusion */
enum { SCORE_OUTPUT_SCALE };
enum { STATIONARY_SHAPE };
enum { LISTED_LENGTH };
enum { STEP_EXCLUDE };
enum { EXCLUDE_NONE, EXCLUDE_MASK };
enum { ANCESTRAL_HEAD };
enum { ANCESTRAL_POSTERIOR, ANCESTRAL_CAVITY };
enum { THIN_CAP };
enum { CONFIDENCE_BY };
enum { BY_PROBABILITY, BY_ENTROPY, BY_MARGIN, BY_RANDOM };
enum { RESTRICT_TEMPERATURE, RESTRICT_TOP_K, RESTRICT_TOP_P };

/* optimizer */
enum { ADAMW_BETA1, ADAMW_BETA2, ADAMW_EPS, ADAMW_DECAY, ADAMW_EMA };
enum { CLIP_NORM, CLIP_SCALE };

#endif
