/* All ops. Adding one means its descriptor, its kernel and a line here (see README.md). */
#include "ops/ops.h"

static const struct op *const ops[] = {
    &op_input, &op_state, &op_const, &op_store, &op_accumulate, &op_gradient,
    &op_random_uniform,
    &op_neg, &op_exp, &op_log, &op_log1p, &op_expm1, &op_sqrt, &op_sin, &op_cos, &op_tanh, &op_not,
    &op_cast,
    &op_add, &op_sub, &op_mul, &op_div, &op_pow, &op_max, &op_min, &op_less, &op_equal, &op_and,
    &op_or, &op_where,
    &op_gelu, &op_gelu_backward, &op_silu, &op_silu_backward,
    &op_sum, &op_mean, &op_sum_to, &op_broadcast_to, &op_logsumexp,
    &op_reshape, &op_expand, &op_split, &op_concat, &op_slice, &op_nonzero, &op_gather,
    &op_scatter_add,
    &op_linear, &op_linear_weight_grad,
    &op_embedding, &op_embedding_backward,
    &op_layer_norm, &op_layer_norm_backward,
    &op_softmax, &op_softmax_backward, &op_log_softmax, &op_log_softmax_backward,
    &op_cross_entropy, &op_cross_entropy_backward,
    &op_attention, &op_attention_backward, &op_rope,
    &op_modulate, &op_modulate_backward, &op_gated_add, &op_gated_add_backward, &op_dropout,
    &op_timestep_features,
    &op_score_output, &op_score_output_backward, &op_score_entropy, &op_score_entropy_backward,
    &op_project_score,
    &op_noise,
    &op_perturb, &op_stationary,
    &op_tweedie, &op_tweedie_weights, &op_euler, &op_euler_linear, &op_euler_weights, &op_denoise,
    &op_categorical,
    &op_base_cost, &op_base_draw, &op_reconstruction,
    &op_sum_squares, &op_clip_scale, &op_adamw, &op_ema,
};

const struct op_table ops_table = {ops, sizeof ops / sizeof ops[0]};
