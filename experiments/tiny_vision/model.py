"""The network: a small SigLIP tower, LLaVA's projector and jc1-tiny's language half.

Knows the arithmetic and the parameter names of Hugging Face's and vLLM's LLaVA. Knows nothing about scenes, questions
or how the folder is written. Parameters are named as in the exported file, so that nothing is renamed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from experiments.tiny.model import Body, Layer, Llama, Size, rotate
from experiments.tiny_vision.labels import CLASSES, PATCH


@dataclass(frozen=True, slots=True)
class TowerSize:
    """Widths and depth of the tower. `side` and `patch` are in pixels."""

    side: int = 64
    patch: int = PATCH
    width: int = 192
    layers: int = 5
    heads: int = 6
    inner: int = 512
    epsilon: float = 1e-6

    @property
    def patches(self) -> int:
        return (self.side // self.patch) ** 2


class Attention(nn.Module):
    def __init__(self, size: TowerSize) -> None:
        super().__init__()
        self.heads = size.heads
        self.q_proj = nn.Linear(size.width, size.width)
        self.k_proj = nn.Linear(size.width, size.width)
        self.v_proj = nn.Linear(size.width, size.width)
        self.out_proj = nn.Linear(size.width, size.width)

    def forward(self, x: Tensor) -> Tensor:
        B, P, D = x.shape
        q, k, v = (p(x).view(B, P, self.heads, -1).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        y = F.scaled_dot_product_attention(q, k, v)  # (B, H, P, D/H); every patch sees every other
        mixed: Tensor = self.out_proj(y.transpose(1, 2).reshape(B, P, D))
        return mixed


class Mlp(nn.Module):
    def __init__(self, size: TowerSize) -> None:
        super().__init__()
        self.fc1 = nn.Linear(size.width, size.inner)
        self.fc2 = nn.Linear(size.inner, size.width)

    def forward(self, x: Tensor) -> Tensor:
        projected: Tensor = self.fc2(F.gelu(self.fc1(x), approximate="tanh"))
        return projected


class TowerLayer(nn.Module):
    def __init__(self, size: TowerSize) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(size.width, size.epsilon)
        self.self_attn = Attention(size)
        self.layer_norm2 = nn.LayerNorm(size.width, size.epsilon)
        self.mlp = Mlp(size)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        x = x + self.mlp(self.layer_norm2(x))
        return x


class Embeddings(nn.Module):
    def __init__(self, size: TowerSize) -> None:
        super().__init__()
        self.patch = size.patch
        self.patch_embedding = nn.Conv2d(3, size.width, size.patch, size.patch)
        self.position_embedding = nn.Embedding(size.patches, size.width)

    def forward(self, pixels: Tensor) -> Tensor:
        B, C, H, W = pixels.shape
        p = self.patch
        # The convolution as a product: its patches do not overlap.
        patches = pixels.view(B, C, H // p, p, W // p, p).permute(0, 2, 4, 1, 3, 5).reshape(B, -1, C * p * p)
        seen = F.linear(patches, self.patch_embedding.weight.flatten(1), self.patch_embedding.bias)
        return seen + self.position_embedding.weight  # (B, P, D)


class Encoder(nn.Module):
    def __init__(self, size: TowerSize) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TowerLayer(size) for _ in range(size.layers))


class VisionModel(nn.Module):
    """What LLaVA takes from a tower: the last layer's output, before the norm that would follow."""

    def __init__(self, size: TowerSize) -> None:
        super().__init__()
        self.embeddings = Embeddings(size)
        self.encoder = Encoder(size)

    def forward(self, pixels: Tensor) -> Tensor:
        x: Tensor = self.embeddings(pixels)
        for layer in self.encoder.layers:
            x = layer(x)
        return x


class Tower(nn.Module):
    """Takes pixels (B, 3, side, side) in -1..1 and returns features (B, P, D)."""

    def __init__(self, size: TowerSize) -> None:
        super().__init__()
        self.size = size
        self.vision_model = VisionModel(size)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.ndim >= 2:
                deep = name.endswith(("out_proj.weight", "fc2.weight"))
                inputs = parameter[0].numel()
                nn.init.normal_(parameter, std=0.02 if "position" in name or deep else inputs**-0.5)

    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.vision_model(pixels)
        return features


class Projector(nn.Module):
    def __init__(self, seen: int, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(seen, width)
        self.linear_2 = nn.Linear(width, width)
        nn.init.normal_(self.linear_2.weight, std=0.1 * width**-0.5)  # about as long as jc1-tiny's word vectors

    def forward(self, features: Tensor) -> Tensor:
        projected: Tensor = self.linear_2(F.gelu(self.linear_1(features)))
        return projected


class Language(nn.Module):
    """jc1-tiny with one more token in its vocabulary: the place of a patch."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.model = Body(size)


class PatchHead(nn.Module):
    """Says what each patch shows: the classes of `labels.CLASSES` and the way to its thing's centre. Not exported."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.classes = nn.Linear(width, sum(CLASSES))
        self.offsets = nn.Linear(width, 2)

    def loss(self, features: Tensor, classes: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and the shares of right classes (4), over the patches that show something of that kind.

        `features` (B, P, D), `classes` (B, P, 4), `offsets` (B, P, 2).
        """
        x = self.norm(features)
        loss = torch.zeros(())
        right = []
        for i, logits in enumerate(self.classes(x).split(CLASSES, -1)):
            target = classes[..., i]
            # Letters are rare among patches, so each counts for more.
            weight = torch.ones(CLASSES[i])
            weight[1:] = 5.0 if i == 3 else 2.0
            loss = loss + F.cross_entropy(logits.flatten(0, 1), target.flatten(), weight)
            right.append((logits.argmax(-1) == target)[target > 0].float().mean())
        thing = (classes[..., :1] > 0).float()
        missed = ((self.offsets(x) - offsets) * 8).abs() * thing
        loss = loss + 0.5 * missed.sum() / thing.sum().clamp(min=1)
        return loss, torch.stack(right).detach()


class Vision(nn.Module):
    """The whole model. `image_token` is the id whose places patches take."""

    def __init__(self, tower: TowerSize, size: Size) -> None:
        super().__init__()
        self.tower_size, self.size = tower, size
        self.vision_tower = Tower(tower)
        self.multi_modal_projector = Projector(tower.width, size.width)
        self.language_model = Language(size)
        self.patch_head = PatchHead(tower.width)
        self.image_token = size.vocabulary - 1
        half = size.width // size.heads // 2
        self.frequencies = size.theta ** -(torch.arange(half, dtype=torch.float32) / half)

    @torch.no_grad()
    def take_language(self, llama: Llama) -> None:
        """Start from a language model whose vocabulary is smaller by one token; that one begins as their mean."""
        state = llama.model.state_dict()
        words = state["embed_tokens.weight"]
        state["embed_tokens.weight"] = torch.cat([words, words.mean(0, keepdim=True)])
        self.language_model.model.load_state_dict(state)

    def forward(
        self, head: Tensor, ids: Tensor, features: Tensor, places: Tensor, mask: Tensor, rows: Tensor, columns: Tensor
    ) -> Tensor:
        """Return the logits (N, V) at `rows`, `columns` (N).

        Args:
            head: The ids (S) that all rows begin with and all their tokens see; they are computed once.
            ids: What follows in each row, (B, T); where it is `image_token`, the patches of the row's picture stand.
            features: What the tower made of the pictures, (B, P, D).
            places: Position of each token, (B, T).
            mask: Whether a token (third axis) sees another (fourth axis), (B, 1, T, T).
        """
        body = self.language_model.model
        turns, head_turns = self._turns(places), self._turns(torch.arange(len(head))[None])
        unseen = torch.zeros(mask.shape).masked_fill_(~mask, -torch.inf)  # once here, not in each layer
        unseen = F.pad(unseen, (len(head), 0))
        x = body.embed_tokens(ids)  # (B, T, D)
        x = x.masked_scatter((ids == self.image_token)[..., None], self.multi_modal_projector(features))
        h = body.embed_tokens(head)[None]  # (1, S, D)
        for i, layer in enumerate(body.layers):
            assert isinstance(layer, Layer)
            before_h, before_x = _attend(layer, h, x, head_turns, turns, unseen)
            if i == len(body.layers) - 1:  # of the last layer only what is asked for
                h, x = before_h, before_x[rows, columns]  # (N, D)
            else:
                h, x = before_h + layer.mlp(layer.post_attention_layernorm(before_h)), before_x
            x = x + layer.mlp(layer.post_attention_layernorm(x))
        return F.linear(body.norm(x), body.embed_tokens.weight)

    def _turns(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosines and sines (B, 1, T, D/H) of the rotary positions `places` (B, T)."""
        angles = places[..., None] * self.frequencies
        angles = torch.cat((angles, angles), dim=-1)[:, None]
        return angles.cos(), angles.sin()


Turns = tuple[Tensor, Tensor]


def _attend(
    layer: Layer, h: Tensor, x: Tensor, head_turns: Turns, turns: Turns, unseen: Tensor
) -> tuple[Tensor, Tensor]:
    """Return head `h` (1, S, D) and rows `x` (B, T, D) after a layer's attention; rows see the head and themselves.

    `unseen` (B, 1, T, S + T) is added to the scores.
    """
    attention = layer.self_attn

    def split(x: Tensor, turns: Turns) -> tuple[Tensor, Tensor, Tensor]:
        B, T, _ = x.shape
        x = layer.input_layernorm(x)
        q, k, v = (
            p(x).view(B, T, attention.heads, -1).transpose(1, 2)
            for p in (attention.q_proj, attention.k_proj, attention.v_proj)
        )  # (B, H, T, D/H)
        return rotate(q, *turns), rotate(k, *turns), v

    def join(y: Tensor) -> Tensor:
        joined: Tensor = attention.o_proj(y.transpose(1, 2).flatten(2))
        return joined

    hq, hk, hv = split(h, head_turns)
    q, k, v = split(x, turns)
    keys, values = (torch.cat([a.expand(len(x), -1, -1, -1), b], 2) for a, b in ((hk, k), (hv, v)))
    of_head = F.scaled_dot_product_attention(hq, hk, hv, is_causal=True)
    return h + join(of_head), x + join(F.scaled_dot_product_attention(q, keys, values, unseen))


def exported(model: Vision) -> dict[str, Tensor]:
    """Return the weights that the model needs to run, under the names that transformers and vLLM know."""
    weights = {n: p.detach() for n, p in model.named_parameters() if not n.startswith("patch_head.")}
    # transformers builds the norm after the tower too, though LLaVA takes what comes before it.
    for name, value in (("weight", 1.0), ("bias", 0.0)):
        key = f"vision_tower.vision_model.post_layernorm.{name}"
        weights[key] = torch.full((model.tower_size.width,), value)
    return weights
