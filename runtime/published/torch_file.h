/* Reads PyTorch checkpoints (`.pth`, `.pt`, `.bin`, `.ckpt`): a zip archive of a pickle and of the
 * memory of tensors, as torch.save has written since version 1.6. Nothing in it is run
 * (pickle.h).
 *
 * What it holds becomes the same table of tensors as that of a safetensors file: the tensors in its
 * dictionaries and lists, under their keys and places joined by dots (`model.blocks.0.mlp.0.bias`,
 * `ema.shadow_params.3`), single and double precision and whole numbers as they are, half precision
 * (F16, BF16) as single. What is no tensor, or of other numbers, is left out. Tensors that lie in
 * the file as they must in memory stay there, mapped; others are copied into ARENA. */
#ifndef SEDGE_PUBLISHED_TORCH_FILE_H
#define SEDGE_PUBLISHED_TORCH_FILE_H

#include "graph/base/safetensors.h"

/* Whether the file begins as such a checkpoint does, be it one of before that version, which is
 * refused; false too when it cannot be read. */
bool torch_file_recognize(const char *path);
/* NULL after reporting FAULT_DATA. Closed by tensor_file_close. */
struct tensor_file *torch_file_open(struct diags *diags, struct arena *arena, const char *path);

#endif
