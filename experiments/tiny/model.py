"""The network of jc1-tiny: the Llama architecture, small, with the parameter names of Hugging Face's LlamaForCausalLM.

Knows the arithmetic and how to be saved as a Hugging Face folder. Knows nothing about text, data or training.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class Size:
    """Widths and depths. The head size, width / heads, must be a multiple of 32 for vLLM's CPU attention."""

    vocabulary: int = 1024
    layers: int = 6
    width: int = 256
    heads: int = 8
    inner: int = 384
    theta: float = 10_000.0
    positions: int = 2048
    epsilon: float = 1e-5


class Norm(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size.width))
        self.epsilon = size.epsilon

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, self.epsilon)


class Attention(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads = size.heads
        self.q_proj = nn.Linear(size.width, size.width, bias=False)
        self.k_proj = nn.Linear(size.width, size.width, bias=False)
        self.v_proj = nn.Linear(size.width, size.width, bias=False)
        self.o_proj = nn.Linear(size.width, size.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        B, T, D = x.shape
        q, k, v = (
            p(x).view(B, T, self.heads, -1).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj)
        )  # (B, H, T, D/H)
        y = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True)
        mixed: Tensor = self.o_proj(y.transpose(1, 2).reshape(B, T, D))
        return mixed


class Mlp(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(size.width, size.inner, bias=False)
        self.up_proj = nn.Linear(size.width, size.inner, bias=False)
        self.down_proj = nn.Linear(size.inner, size.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        projected: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return projected


class Layer(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.input_layernorm = Norm(size)
        self.self_attn = Attention(size)
        self.post_attention_layernorm = Norm(size)
        self.mlp = Mlp(size)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        x = x + self.mlp(self.post_attention_layernorm(x))
        return x


class Body(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(size.vocabulary, size.width)
        self.layers = nn.ModuleList(Layer(size) for _ in range(size.layers))
        self.norm = Norm(size)


class Llama(nn.Module):
    """Returns logits for the chosen positions only. Output and input embeddings are one matrix."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        self.model = Body(size)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                deep = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(
                    parameter,
                    std=0.02 / (2 * size.layers) ** 0.5 if deep else 0.02 if "embed" in name else size.width**-0.5,
                )
        half = size.width // size.heads // 2
        self.frequencies = size.theta ** -(torch.arange(half, dtype=torch.float32) / half)

    def forward(self, ids: Tensor, rows: Tensor, columns: Tensor, places: Tensor | None = None) -> Tensor:
        """Return the logits (N, V) of `ids` (B, T) at `rows`, `columns` (N). `places` (T) replace 0, 1, 2, ..."""
        if places is None:
            places = torch.arange(ids.shape[1])
        angles = torch.outer(places.to(torch.float32), self.frequencies)
        angles = torch.cat((angles, angles), dim=-1)  # (T, D/H)
        cos, sin = angles.cos(), angles.sin()
        x = self.model.embed_tokens(ids)  # (B, T, D)
        for layer in self.model.layers:
            x = layer(x, cos, sin)
        return F.linear(self.model.norm(x[rows, columns]), self.model.embed_tokens.weight)  # (N, V)

    @torch.no_grad()
    def take_from(self, other: Llama) -> None:
        """Start from the embeddings of a deeper model of the same width, and from layers spread over its depth."""
        self.model.embed_tokens.load_state_dict(other.model.embed_tokens.state_dict())
        self.model.norm.load_state_dict(other.model.norm.state_dict())
        for at, layer in enumerate(self.model.layers):
            layer.load_state_dict(other.model.layers[at * other.size.layers // self.size.layers].state_dict())


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary positions to `x` (B, H, T, D/H), halves paired as in Hugging Face's Llama."""
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), dim=-1) * sin


def read(folder: Path) -> Llama:
    """Read the model that `save` wrote."""
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text())
    model = Llama(
        Size(
            vocabulary=config["vocab_size"],
            layers=config["num_hidden_layers"],
            width=config["hidden_size"],
            heads=config["num_attention_heads"],
            inner=config["intermediate_size"],
        )
    )
    model.load_state_dict(load_file(str(folder / "model.safetensors")))
    return model


def save(model: Llama, folder: Path, *, bos: int, eos: tuple[int, ...], pad: int, training: dict[str, float]) -> None:
    """Write config.json, generation_config.json and model.safetensors (fp32). `training` says how long it took."""
    from safetensors.torch import save_file

    size = model.size
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": size.vocabulary,
        "hidden_size": size.width,
        "intermediate_size": size.inner,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.heads,
        "head_dim": size.width // size.heads,
        "hidden_act": "silu",
        "max_position_embeddings": size.positions,
        "rms_norm_eps": size.epsilon,
        "rope_theta": size.theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": size.theta},
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": True,
        "bos_token_id": bos,
        "eos_token_id": list(eos),
        "pad_token_id": pad,
        "initializer_range": 0.02,
        "use_cache": True,
        "dtype": "float32",
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    generation = {
        "bos_token_id": bos,
        "eos_token_id": list(eos),
        "pad_token_id": pad,
        "do_sample": False,
        "max_new_tokens": 64,
    }
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    weights = {name: p.detach().to(torch.float32).contiguous() for name, p in model.named_parameters()}
    file = folder / "model.safetensors"
    save_file(weights, str(file), metadata={"format": "pt", "training": json.dumps(training)})
    file.chmod(0o644)  # it is written for its owner alone
