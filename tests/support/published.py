#!/usr/bin/env python3
"""Weights under published names at a small size, as PyTorch writes them, for tests of `sedge import`.

    published.py make DIR     writes FAMILY.safetensors, FAMILY.pth and so on
    published.py same A B     compares two files by name, shape and number; exit code 1 where they differ

Needs torch and safetensors."""
import os
import sys
from collections import OrderedDict

import torch
from safetensors.torch import load_file, save_file


def diffusion(states, dim, layers, cond, heads):
    """SEDD and MDLM; without COND, RADD."""
    g = torch.Generator().manual_seed(states)
    w = OrderedDict()

    def add(name, *shape):
        w[name] = torch.randn(*shape, generator=g) * 0.1

    add("vocab_embed.embedding", states, dim)
    if cond:
        add("sigma_map.mlp.0.weight", cond, 256)
        add("sigma_map.mlp.0.bias", cond)
        add("sigma_map.mlp.2.weight", cond, cond)
        add("sigma_map.mlp.2.bias", cond)
    w["rotary_emb.inv_freq"] = 1.0 / 10000 ** (torch.arange(0, dim // heads, 2).float() / (dim // heads))
    for i in range(layers):
        b = f"blocks.{i}."
        add(b + "norm1.weight", dim)
        add(b + "attn_qkv.weight", 3 * dim, dim)
        add(b + "attn_out.weight", dim, dim)
        add(b + "norm2.weight", dim)
        add(b + "mlp.0.weight", 4 * dim, dim)
        add(b + "mlp.0.bias", 4 * dim)
        add(b + "mlp.2.weight", dim, 4 * dim)
        add(b + "mlp.2.bias", dim)
        if cond:
            add(b + "adaLN_modulation.weight", 6 * dim, cond)
            add(b + "adaLN_modulation.bias", 6 * dim)
    add("output_layer.norm_final.weight", dim)
    add("output_layer.linear.weight", states, dim)
    add("output_layer.linear.bias", states)
    if cond:
        add("output_layer.adaLN_modulation.weight", 2 * dim, cond)
        add("output_layer.adaLN_modulation.bias", 2 * dim)
    return w


def gpt2(vocab, length, dim, layers):
    g = torch.Generator().manual_seed(vocab)
    w = OrderedDict()

    def add(name, *shape):
        w[name] = torch.randn(*shape, generator=g) * 0.1

    add("wte.weight", vocab, dim)
    add("wpe.weight", length, dim)
    for i in range(layers):
        b = f"h.{i}."
        for norm in "ln_1", "ln_2":
            add(b + norm + ".weight", dim)
            add(b + norm + ".bias", dim)
        w[b + "attn.bias"] = torch.tril(torch.ones(length, length)).view(1, 1, length, length)
        for name, rows, columns in (("attn.c_attn", dim, 3 * dim), ("attn.c_proj", dim, dim),
                                    ("mlp.c_fc", dim, 4 * dim), ("mlp.c_proj", 4 * dim, dim)):
            add(b + name + ".weight", rows, columns)
            add(b + name + ".bias", columns)
    add("ln_f.weight", dim)
    add("ln_f.bias", dim)
    return w


def weights(w):
    return OrderedDict((k, v) for k, v in w.items() if not k.endswith((".inv_freq", "attn.bias")))


class Runs:
    """What a hostile checkpoint would have run."""

    def __reduce__(self):
        return os.system, ("echo run >&2",)


def make(folder):
    os.makedirs(folder, exist_ok=True)
    at = lambda name: os.path.join(folder, name)
    sedd = diffusion(257, 16, 2, 8, 2)
    uniform = diffusion(256, 16, 2, 8, 2)
    save_file(sedd, at("sedd.safetensors"))
    save_file(weights(sedd), at("sedd-weights.safetensors"))
    save_file(uniform, at("uniform.safetensors"))
    save_file(weights(uniform), at("uniform-weights.safetensors"))
    # A training checkpoint: names of a wrapper, optimizer, averages without names.
    shadow = [v * 2 for v in weights(sedd).values()]
    torch.save({"optimizer": {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(3)}},
                              "param_groups": [{"lr": 3e-4, "betas": (0.9, 0.999), "params": [0]}]},
                "model": OrderedDict(("module." + k, v) for k, v in sedd.items()),
                "ema": {"decay": 0.9999, "num_updates": 7, "shadow_params": shadow},
                "step": 7}, at("training.pth"))
    save_file(dict(zip(weights(sedd), shadow)), at("averages.safetensors"))
    # MDLM as it is on the hub, in half precision; RADD.
    mdlm = OrderedDict(("backbone." + k, v) for k, v in diffusion(257, 16, 1, 8, 2).items())
    for name, half in ("bf16", torch.bfloat16), ("f16", torch.float16):
        save_file({k.removeprefix("backbone."): v.to(half).float() for k, v in weights(mdlm).items()},
                  at(f"mdlm-{name}.safetensors"))
    save_file({k: v.to(torch.bfloat16) for k, v in mdlm.items()}, at("mdlm.safetensors"))
    torch.save({k: v.half() for k, v in mdlm.items()}, at("mdlm.bin"))
    radd = diffusion(257, 16, 2, 0, 2)
    torch.save(radd, at("radd.bin"), pickle_protocol=4)
    save_file(weights(radd), at("radd-weights.safetensors"))
    w = gpt2(256, 32, 64, 2)
    torch.save(OrderedDict(("transformer." + k, v) for k, v in w.items()) |
               {"lm_head.weight": w["wte.weight"]}, at("gpt2.bin"))
    save_file(w, at("gpt2.safetensors"))
    save_file(weights(w), at("gpt2-weights.safetensors"))
    # Memory that is shared, in another order than the indices.
    both = torch.arange(24.0).view(4, 6)
    torch.save({"turned": both.t(), "part": both[1:3, 2:5], "whole": both, "long": torch.arange(3),
                "truth": torch.tensor([True, False]), "one": torch.tensor(2.5)}, at("views.pth"))
    save_file({"turned": both.t().contiguous(), "part": both[1:3, 2:5].contiguous(), "whole": both.clone(),
               "long": torch.arange(3), "one": torch.tensor(2.5)}, at("views.safetensors"))
    torch.save({"model": sedd, "hook": Runs()}, at("hostile.pth"))
    legacy = at("legacy.pth")
    torch.save(sedd, legacy, _use_new_zipfile_serialization=False)


def same(one, other):
    a, b = load_file(one), load_file(other)
    for name in sorted(a.keys() | b.keys()):
        if name not in a or name not in b or a[name].shape != b[name].shape or not torch.equal(a[name], b[name]):
            print(f"{name} differs")
            sys.exit(1)


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2])
    else:
        same(sys.argv[2], sys.argv[3])
