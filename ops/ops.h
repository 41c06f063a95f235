/* Every descriptor by name, for gradient rules and passes that emit nodes, and the table of all. */
#ifndef SEDGE_OPS_H
#define SEDGE_OPS_H

#include "graph/op.h"

extern const struct op_table ops_table;

/* leaf.c */
extern const struct op op_input, op_state, op_const, op_store, op_accumulate, op_gradient;
/* random.c */
extern const struct op op_random_uniform;
/* elementwise.c: unary; broadcast.c: binary with broadcasting (numpy's rule: trailing axes
 * align) */
extern const struct op op_neg, op_exp, op_log, op_log1p, op_expm1, op_sqrt, op_sin, op_cos, op_tanh,
    op_not, op_cast;
extern const struct op op_add, op_sub, op_mul, op_div, op_pow, op_max, op_min, op_less, op_equal,
    op_and, op_or, op_where;
/* activation.c */
extern const struct op op_gelu, op_gelu_backward, op_silu, op_silu_backward;
/* reduce.c */
extern const struct op op_sum, op_mean, op_sum_to, op_broadcast_to, op_logsumexp;
/* layout.c: views, cuts and joins; rows.c: rows picked by index */
extern const struct op op_reshape, op_expand, op_later, op_split, op_concat, op_slice, op_nonzero,
    op_gather, op_scatter_add, op_replace, op_row_owner;
/* index.c: numbers of positions, and one of them taken or put */
extern const struct op op_positions, op_take, op_put;
/* linear.c */
extern const struct op op_linear, op_linear_weight_grad;
/* linear_then.c */
extern const struct op op_linear_then;
/* head_loss.c: the vocabulary head and its loss in one */
extern const struct op op_head_entropy, op_head_entropy_backward, op_head_loss,
    op_head_loss_backward, op_head_draw, op_head_bound;
/* embedding.c */
extern const struct op op_embedding, op_embedding_backward, op_one_hot;
/* norm.c */
extern const struct op op_layer_norm, op_layer_norm_backward;
/* norm_modulate.c */
extern const struct op op_norm_modulate, op_norm_modulate_backward;
/* softmax.c */
extern const struct op op_softmax, op_softmax_backward, op_log_softmax, op_log_softmax_backward,
    op_cross_entropy, op_cross_entropy_backward;
/* attention.c */
extern const struct op op_attention, op_attention_backward, op_rope;
/* attention_cached.c: one query against a cache */
extern const struct op op_attention_cached;
/* attention_packed.c */
extern const struct op op_attention_packed, op_attention_packed_backward;
/* modulate.c */
extern const struct op op_modulate, op_modulate_backward, op_gated_add, op_gated_add_backward,
    op_dropout;
/* features.c */
extern const struct op op_timestep_features;
/* score.c: the head's output, the loss, and the rows that carry one */
extern const struct op op_score_output, op_score_output_backward, op_score_entropy,
    op_score_entropy_backward, op_may_move;
/* projection.c */
extern const struct op op_project_score;
/* noise.c: the schedule and the weight of masks, expanded to nodes of t */
extern const struct op op_noise, op_mask_weight;
/* perturb.c: draws of the forward chain */
extern const struct op op_perturb, op_stationary;
/* reverse.c: reverse steps, and their weights for tests and other programs */
extern const struct op op_tweedie, op_tweedie_weights, op_euler, op_euler_linear, op_euler_weights,
    op_denoise;
/* draw.c: draws from weights or their logarithms */
extern const struct op op_categorical, op_draw_law;
/* bound.c: what the likelihood bound needs besides the integrand */
extern const struct op op_base_cost, op_base_draw, op_reconstruction;
/* ancestral.c, event.c, corrector.c, reveal.c, restrict.c: samplers */
extern const struct op op_ancestral, op_first_hit, op_reveal_one, op_masked_one, op_thin_next,
    op_thin_jump, op_corrector, op_remask, op_mask_again, op_confidence, op_reveal, op_restrict;
/* head.c, head_score.c: laws of the clean token, and their scores */
extern const struct op op_x0_output, op_x0_output_backward, op_cavity_output, op_score_posterior,
    op_posterior_score, op_posterior_score_backward, op_cavity_score, op_cavity_score_backward;
/* enumerated.c: a space that can be listed, and losses over it; perturb_exact.c */
extern const struct op op_all_sequences, op_noised_law, op_plain_score_entropy,
    op_plain_score_entropy_backward, op_implicit_score_entropy, op_implicit_score_entropy_backward,
    op_mask_exactly;
/* optimizer.c */
extern const struct op op_sum_squares, op_clip_scale, op_adamw, op_adamw_ema;

#endif
