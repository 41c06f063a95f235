#!/usr/bin/env python3
"""The models of sedge's benchmarks in PyTorch, for `compare`: needs `pip install torch`.

    python3 tests/bench/peer.py train  --model sedd --preset mini --vocab 256 --batch 8 --length 256 --steps 8
    python3 tests/bench/peer.py sample --model sedd --preset mini --vocab 256 --batch 2 --length 256 --steps 16

sedd: score entropy discrete diffusion with the absorbing chain (Lou, Meng, Ermon 2024): a transformer whose blocks
are modulated by the noise level (Peebles, Xie 2023), rotary positions (Su et al. 2021), log-linear noise.
gpt2: the causal transformer of Radford et al. 2019, trained to predict the next token.
Both are float32 and eager, without dropout, with AdamW and the gradient clipped to norm 1. STEPS are the steps that
are timed, or those of the sampler. One line of JSON: the median speed, and the most memory that the process had.
"""
import argparse
import json
import math
import resource
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F

# dim, heads, layers and cond, as in models/sedd-network.yaml
SIZES = {
    "tiny": dict(dim=128, heads=4, layers=4, cond=64),
    "mini": dict(dim=384, heads=6, layers=6, cond=128),
    "small": dict(dim=768, heads=12, layers=12, cond=128),
    "medium": dict(dim=1024, heads=16, layers=24, cond=128),
}
EPS = 1e-3  # of the noise: a share of (1 - EPS) t is masked at t
LEAST_T = 1e-3  # that training draws
END_T = 1e-5  # where the sampler takes its last look


# --- layers ---------------------------------------------------------------------------------------------------------


def split_heads(x, heads):
    """[batch, length, dim] -> [batch, heads, length, dim / heads]"""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


class Attention(nn.Module):
    def __init__(self, dim, heads, causal, bias):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.inward = nn.Linear(dim, 3 * dim, bias=bias)
        self.outward = nn.Linear(dim, dim, bias=bias)

    def forward(self, x, turn=None):
        q, k, v = (split_heads(part, self.heads) for part in self.inward(x).split(x.shape[-1], -1))
        if turn is not None:
            q, k = turn(q), turn(k)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.outward(mixed.transpose(1, 2).flatten(-2))


class Turn:
    """Rotary positions: column c of a head turns with column c + half."""

    def __init__(self, length, columns):
        half = columns // 2
        angle = torch.outer(torch.arange(length), 10000 ** (-torch.arange(half) / half))
        self.cos, self.sin = angle.cos(), angle.sin()

    def __call__(self, x):
        a, b = x.chunk(2, -1)
        return torch.cat([a * self.cos - b * self.sin, b * self.cos + a * self.sin], -1)


def mlp(dim):
    return nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(approximate="tanh"), nn.Linear(4 * dim, dim))


# --- score entropy diffusion ----------------------------------------------------------------------------------------


class ModulatedNorm(nn.Module):
    """Layer norm with a weight and no bias, then the shift and the scale that the noise level asks for."""

    def __init__(self, dim):
        super().__init__()
        self.norm = nn.LayerNorm(dim, bias=False)

    def forward(self, x, shift, scale):
        return self.norm(x) * (1 + scale) + shift


class Block(nn.Module):
    def __init__(self, dim, heads, cond):
        super().__init__()
        self.ask = nn.Linear(cond, 6 * dim)
        self.before_attention, self.before_mlp = ModulatedNorm(dim), ModulatedNorm(dim)
        self.attention, self.mlp = Attention(dim, heads, causal=False, bias=False), mlp(dim)

    def forward(self, x, noise, turn):
        one = self.ask(noise).unsqueeze(1).chunk(6, -1)
        x = x + one[2] * self.attention(self.before_attention(x, one[0], one[1]), turn)
        return x + one[5] * self.mlp(self.before_mlp(x, one[3], one[4]))


class Sedd(nn.Module):
    """log of p_t(y) / p_t(x) at each position; the mask is token VOCAB."""

    def __init__(self, vocab, length, dim, heads, layers, cond):
        super().__init__()
        self.vocab = vocab
        self.embedding = nn.Embedding(vocab + 1, dim)
        self.noise = nn.Sequential(nn.Linear(256, cond), nn.SiLU(), nn.Linear(cond, cond), nn.SiLU())
        self.blocks = nn.ModuleList([Block(dim, heads, cond) for _ in range(layers)])
        self.last_ask, self.last_norm = nn.Linear(cond, 2 * dim), ModulatedNorm(dim)
        self.head = nn.Linear(dim, vocab + 1)
        self.turn = Turn(length, dim // heads)

    def forward(self, x, sigma):
        wave = torch.outer(sigma, torch.exp(torch.arange(128) * (-math.log(1e4) / 128)))
        noise = self.noise(torch.cat([wave.cos(), wave.sin()], -1))
        h = self.embedding(x)
        for block in self.blocks:
            h = block(h, noise, self.turn)
        shift, scale = self.last_ask(noise).unsqueeze(1).chunk(2, -1)
        out = self.head(self.last_norm(h, shift, scale))
        # What is left to learn is of order 1 at every noise level: the scores themselves grow as 1 / (e^sigma - 1).
        out = out - (torch.log(torch.expm1(sigma)) + math.log(self.vocab)).view(-1, 1, 1)
        return out.scatter(2, x.unsqueeze(2), 0)


def sigma_at(t):
    return -torch.log1p(-(1 - EPS) * t)


def score_entropy(model, x0):
    """Of masked positions: sum of s_y over tokens y, less r log s_x0 at the true ratio r, plus r (log r - 1)."""
    batch, length = x0.shape
    # One time in each of `batch` equal parts: every step has as many masks as any other, about.
    t = LEAST_T + (1 - LEAST_T) * (torch.arange(batch) + 0.5) / batch
    sigma, rate = sigma_at(t), (1 - EPS) / (1 - (1 - EPS) * t)
    masked = torch.rand(batch, length) < -torch.expm1(-sigma).unsqueeze(1)
    log_score = model(x0.masked_fill(masked, model.vocab), sigma)
    row, _ = masked.nonzero(as_tuple=True)
    mine, truth, ratio = log_score[masked], x0[masked], (1 / torch.expm1(sigma))[row]
    total = mine[:, :-1].exp().sum(1)
    at_truth = mine.gather(1, truth.unsqueeze(1)).squeeze(1)
    entropy = total - ratio * at_truth + ratio * (ratio.log() - 1)
    return (rate[row] * entropy).sum() / batch


@torch.no_grad()
def sample_tweedie(model, batch, length, steps):
    """The exact step of one position under frozen scores: a mask becomes y at (e^d - 1) s_y, for a fall of the noise
    by d, and stays with what is left. At the end every mask is drawn by its scores."""
    x = torch.full((batch, length), model.vocab)
    times = torch.linspace(1, END_T, steps + 1)
    for i in range(steps + 1):
        now = sigma_at(times[i])
        later = sigma_at(times[i + 1]) if i < steps else torch.zeros(())
        law = torch.expm1(now - later) * model(x, now.expand(batch)).exp()
        stay = 1 - law[..., :-1].sum(-1)
        law[..., -1] = stay.clamp(min=0) if i < steps else 0
        # Whoever comes first in a race of exponential clocks with these rates is drawn by them.
        drawn = (law / -torch.rand_like(law).log()).argmax(-1)
        x = torch.where(x == model.vocab, drawn, x)
    return x


# --- next token -----------------------------------------------------------------------------------------------------


class CausalBlock(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.before_attention, self.before_mlp = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention, self.mlp = Attention(dim, heads, causal=True, bias=True), mlp(dim)

    def forward(self, x):
        x = x + self.attention(self.before_attention(x))
        return x + self.mlp(self.before_mlp(x))


class Gpt2(nn.Module):
    def __init__(self, vocab, length, dim, heads, layers, cond):
        super().__init__()
        self.vocab = vocab
        self.embedding, self.position = nn.Embedding(vocab, dim), nn.Embedding(length, dim)
        self.blocks = nn.Sequential(*[CausalBlock(dim, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(dim)

    def forward(self, x):
        h = self.embedding(x) + self.position.weight[: x.shape[1]]
        return F.linear(self.norm(self.blocks(h)), self.embedding.weight)


def next_token(model, x0):
    return F.cross_entropy(model(x0)[:, :-1].flatten(0, 1), x0[:, 1:].flatten())


# --- measuring ------------------------------------------------------------------------------------------------------


def time_training(model, loss_of, batch, length, steps):
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    seconds = []
    for _ in range(2 + steps):
        x0 = torch.randint(model.vocab, (batch, length))
        start = time.perf_counter()
        loss_of(model, x0).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - start)
    return seconds[2:]


def time_sampling(model, batch, length, steps):
    sample_tweedie(model, batch, length, 1)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        sample_tweedie(model, batch, length, steps)
        seconds.append(time.perf_counter() - start)
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["train", "sample"])
    parser.add_argument("--model", choices=["sedd", "gpt2"], default="sedd")
    parser.add_argument("--preset", choices=SIZES, default="mini")
    for name, value in [("vocab", 50257), ("batch", 4), ("length", 256), ("steps", 8), ("threads", 0)]:
        parser.add_argument("--" + name, type=int, default=value)
    asked = parser.parse_args()
    if asked.task == "sample" and asked.model != "sedd":
        parser.error("only sedd samples here")
    if asked.threads:
        torch.set_num_threads(asked.threads)
    torch.manual_seed(1)
    kind, loss_of = (Sedd, score_entropy) if asked.model == "sedd" else (Gpt2, next_token)
    model = kind(asked.vocab, asked.length, **SIZES[asked.preset])
    if asked.task == "train":
        seconds = time_training(model, loss_of, asked.batch, asked.length, asked.steps)
    else:
        seconds = time_sampling(model, asked.batch, asked.length, asked.steps)
    took = statistics.median(seconds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(vars(asked) | {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": took,
        "tokens_per_s": asked.batch * asked.length / took,
        "peak_rss_mib": peak,
    }))


if __name__ == "__main__":
    main()
