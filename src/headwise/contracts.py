"""Protocols and plain records that the rooms share. No logic lives here.

Words used throughout: tokens are ``(n, s, d)`` (samples, tokens, features); the first ``num_prefix`` tokens are prefix
tokens (class token, registers), the others patch tokens in row-major order of ``grid``; a mask is boolean and True
means "may be seen".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from torch import Tensor, nn

__all__ = [
    "AttentionModel",
    "Backbone",
    "Block",
    "EncodedText",
    "FittedGates",
    "GateFamily",
    "GateKind",
    "GateValues",
    "Loss",
    "Norm",
    "PairGate",
    "Penalty",
    "Preprocessing",
    "Progress",
    "QueryKey",
    "Rotary",
    "TargetKind",
    "TextBackbone",
    "TextPreprocessing",
    "TokenShape",
    "TokenSource",
    "TokenTable",
    "Tokens",
    "Windows",
]

Progress = Callable[[str, int, int], None]
"""Called as ``progress(step, done, total)`` during long work; ``step`` is a short phrase for people."""


@dataclass(frozen=True)
class Tokens:
    """Tokens of some samples.

    Parameters
    ----------
    values : Tensor, shape (n, s, d)
        Prefix tokens first, then patch tokens.
    num_prefix : int
        Number of prefix tokens.
    grid : (int, int) or None
        Rows and columns of the patch tokens, None where they have no grid (text, tables).
    mask : Tensor of bool, shape (n, s), or None
        True where a token is real, None where all are.
    """

    values: Tensor
    num_prefix: int = 0
    grid: tuple[int, int] | None = None
    mask: Tensor | None = None


class TokenSource(Protocol):
    """Anything that gives tokens chunk by chunk: a store on disk or arrays in memory."""

    @property
    def num_samples(self) -> int: ...

    @property
    def num_tokens(self) -> int:
        """Tokens of a sample, prefix tokens included."""
        ...

    @property
    def width(self) -> int: ...

    @property
    def num_prefix(self) -> int: ...

    @property
    def grid(self) -> tuple[int, int] | None: ...

    @property
    def fingerprint(self) -> str:
        """Hash of the tokens' content; equal fingerprints mean equal tokens."""
        ...

    def chunks(self, rows: np.ndarray | None = None, size: int | None = None) -> Iterator[tuple[np.ndarray, Tokens]]:
        """Yield ``(rows, tokens)`` in the order of ``rows`` (all samples by default), at most ``size`` samples each."""
        ...


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes a backbone's input: resize, crop, scale to [0, 1], subtract mean, divide by std.

    Parameters
    ----------
    image_size : (int, int)
        Height and width of the input.
    mean, std : (float, float, float)
        Of the channels, after scaling to [0, 1].
    interpolation : str
        Filter of the resize.
    crop_fraction : float
        Share of the resized side that the centre crop keeps: pictures are resized to ``floor(size / crop_fraction)``.
    crop_mode : {"center", "squash", "border"}
        What fits that size: the shorter side, with the aspect kept (parts of the longer side are lost); both sides,
        whatever the aspect; or the longer side, with a border of the mean colour around the picture.
    """

    image_size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"
    crop_fraction: float = 1.0
    crop_mode: Literal["center", "squash", "border"] = "center"


@dataclass(frozen=True)
class TextPreprocessing:
    """How a text becomes a backbone's input: its tokenizer cuts it into tokens, the first of which are taken.

    Parameters
    ----------
    tokenizer : str
        Hash of the vocabulary and of what the tokenizer makes of a sentence.
    max_tokens : int
        Tokens that the network takes, those that the tokenizer adds included.
    """

    tokenizer: str
    max_tokens: int


@dataclass(frozen=True)
class EncodedText:
    """A text as the numbers of its tokens, those that the tokenizer adds included.

    Parameters
    ----------
    ids : ndarray of int64, shape (length,)
        Empty for a text without a token of its own.
    whole : int
        Tokens of the whole text; more than there are ``ids`` where it was cut.
    """

    ids: np.ndarray
    whole: int


@dataclass(frozen=True)
class Norm:
    """A normalisation in front of (or inside) an attention layer."""

    kind: Literal["layer", "rms"]
    weight: Tensor | None
    bias: Tensor | None
    eps: float


@dataclass(frozen=True)
class Rotary:
    """Queries and keys turned by the place of their token: pair p by ``(a, b) -> (c a - s b, c b + s a)``.

    Parameters
    ----------
    tables : callable
        ``tables(s)`` gives the cosines c and sines s of ``s`` tokens, prefix tokens included, each ``(s, pairs)`` or
        ``(heads, s, pairs)``. Where a token is not turned, the cosine is 1 and the sine 0. A factor of the logits that
        some models put into their tables is part of both.
    layout : {"halves", "neighbours"}
        Which coordinates are a pair: p and ``p + pairs``, or ``2 p`` and ``2 p + 1``. Coordinates beyond
        ``2 * pairs`` are not turned.
    """

    tables: Callable[[int], tuple[Tensor, Tensor]]
    layout: Literal["halves", "neighbours"]


@dataclass(frozen=True)
class Windows:
    """A partition of tokens into windows, which do not see each other.

    Parameters
    ----------
    index : Tensor of int, shape (windows, t)
        Places of the t tokens of each window among the layer's tokens (in row-major order of their grid).
    visible : Tensor of bool, shape (windows, t, t), or None
        Which tokens of a window see each other, where not all do (shifted windows join what is far apart).
    """

    index: Tensor
    visible: Tensor | None = None


@dataclass(frozen=True)
class QueryKey:
    """Everything that decides the logits of one attention layer.

    With x the tokens, ``q = rotary(q_norm(query input_norm(x) + query_bias))``, keys likewise, the logits of an
    attention head are ``scale q k^T + bias``.

    Parameters
    ----------
    layer : int
        Place among the attention layers of the model, from 0.
    name : str
        Path of the attention module in the model.
    query, key : Tensor, shape (heads, head_dim, d)
        Weights of each attention head. With grouped queries ``key`` has fewer heads; ``groups`` tells how many query
        heads share one.
    query_bias, key_bias : Tensor, shape (heads, head_dim), or None
    input_norm : Norm or None
        What normalises the residual stream before the projections.
    q_norm, k_norm : Norm or None
        Normalisation of queries and keys, per attention head, before any rotation.
    scale : float
        Factor of the logits, usually ``head_dim ** -0.5``.
    rotary : Rotary or None
    bias : Tensor, shape (heads, s, s), or None
        What is added to the logits of s tokens, or within each window.
    position_query : object or None
        Positional queries.
    window : Windows, int or None
        What a token may see: its window, or so many tokens up to itself (the others are hidden).
    groups : int
        Query heads for each key head.
    causal : bool or None
        Whether tokens see only themselves and those before; None where the caller of the module decides, by a mask.
    reads : str
        Path of the module whose first argument are the tokens x; the attention module itself where it is empty.
    tokens_first : bool
        Whether that argument is ``(s, n, d)``, tokens before samples.
    leaves_out : str
        What decides the attention besides all this, in words; empty where the record is exact. The modes of such a
        record are those of the rest. Gates of its attention, and its logits against those of the model, are refused.

    Notes
    -----
    Dissection refuses by name a field that it cannot handle.
    """

    layer: int
    name: str
    query: Tensor
    key: Tensor
    query_bias: Tensor | None = None
    key_bias: Tensor | None = None
    input_norm: Norm | None = None
    q_norm: Norm | None = None
    k_norm: Norm | None = None
    scale: float = 1.0
    rotary: Rotary | None = None
    bias: Tensor | None = None
    position_query: Any = None
    window: Windows | int | None = None
    groups: int = 1
    causal: bool | None = None
    reads: str = ""
    tokens_first: bool = False
    leaves_out: str = ""


@runtime_checkable
class AttentionModel(Protocol):
    """A network whose attention layers are known."""

    name: str
    model: nn.Module

    def tokens(
        self, inputs: Any, /, layers: Sequence[int] = (-1,), at: Literal["output", "block_input"] = "output"
    ) -> list[Tensor]:
        """One tensor for each layer asked for, from what the network takes; see `Backbone.tokens`."""
        ...

    def query_keys(self) -> list[QueryKey]:
        """One record for each attention layer, in order."""
        ...


@runtime_checkable
class Backbone(Protocol):
    """A frozen network that turns images into tokens."""

    name: str
    model: nn.Module
    """The network itself, whose parameters `tokens` uses."""
    weights_hash: str
    num_prefix_tokens: int
    grid: tuple[int, int]
    width: int
    depth: int
    num_heads: int
    num_parameters: int
    preprocessing: Preprocessing

    def preprocess(self, images: Sequence[Any]) -> Tensor:
        """Batch ``(B, 3, H, W)`` ready for `tokens` from PIL images or uint8 arrays ``(H, W)`` or ``(H, W, 3)``."""
        ...

    def tokens(
        self, images: Tensor, layers: Sequence[int] = (-1,), at: Literal["output", "block_input"] = "output"
    ) -> list[Tensor]:
        """One ``(B, prefix + patches, d)`` tensor for each layer asked for.

        ``"output"`` is the layer's output (after the last norm for the last layer), ``"block_input"`` the residual
        stream that enters the layer, before its norm.
        """
        ...

    def query_keys(self) -> list[QueryKey]:
        """One record for each attention layer, in order."""
        ...


@runtime_checkable
class TextBackbone(Protocol):
    """A frozen network that turns texts into tokens, as many as each text has; they have no grid."""

    name: str
    model: nn.Module
    """The network itself, whose parameters `tokens` uses."""
    weights_hash: str
    num_prefix_tokens: int
    width: int
    depth: int
    num_heads: int
    num_parameters: int
    preprocessing: TextPreprocessing

    def encode(self, texts: Sequence[str], max_tokens: int | None = None) -> list[EncodedText]:
        """Numbers of the tokens of each text, at most ``max_tokens`` (all that the network takes by default)."""
        ...

    def batch(self, encoded: Sequence[EncodedText]) -> dict[str, Tensor]:
        """Input of `tokens`, padded to the longest: ``input_ids`` and ``attention_mask``, each ``(B, s)``."""
        ...

    def preprocess(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """``batch(encode(texts))``."""
        ...

    def seen(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Mask of a batch, bool ``(B, s)``: True for tokens that are of the text, and not padding."""
        ...

    def spans(self, text: str, max_tokens: int | None = None) -> list[tuple[int, int]] | None:
        """Where each token stands in a text, first and last character plus one; None where that is not known."""
        ...

    def tokens(
        self,
        inputs: Mapping[str, Tensor],
        /,
        layers: Sequence[int] = (-1,),
        at: Literal["output", "block_input"] = "output",
    ) -> list[Tensor]:
        """One ``(B, s, d)`` tensor for each layer asked for, as `Backbone.tokens`; behind the mask may be anything."""
        ...

    def query_keys(self) -> list[QueryKey]:
        """One record for each attention layer, in order."""
        ...


TargetKind = Literal["classes", "labels", "numbers", "counts", "survival"]
"""Classes are integers ``(n,)``; labels are 0 or 1, ``(n, c)``; numbers and counts ``(n, c)``; survival is ``(n, 2)``:
time, and 1 where the event was seen."""


class Loss(Protocol):
    """A convex loss of all outputs, bound to its targets and sample weights: ``L(f) = sum_i w_i l(f_i, y_i)``.

    Made as ``Squared(targets, num_outputs, weights, **options)``. ``theta`` below is a matrix ``(n, c)`` in the scale
    of ``gradient(f)``, weights included.
    """

    name: str
    kind: TargetKind
    has_intercept: bool
    """False where a common shift of the outputs changes nothing (Cox)."""
    num_outputs: int
    num_samples: int

    def value(self, outputs: Tensor) -> Tensor:
        """L(f), a scalar."""
        ...

    def gradient(self, outputs: Tensor) -> Tensor:
        """Gradient of L at ``outputs``, ``(n, c)``."""
        ...

    def hessian_product(self, outputs: Tensor, direction: Tensor) -> Tensor:
        """Hessian of L at ``outputs`` applied to ``direction``, ``(n, c)``."""
        ...

    def best_constant(self) -> Tensor:
        """The intercept ``(c,)`` that minimises L when it is all there is."""
        ...

    def dual_value(self, theta: Tensor) -> Tensor:
        """-L*(theta), a scalar; minus infinity outside the domain."""
        ...

    def repair(self, theta: Tensor) -> Tensor:
        """A point of the domain near ``theta`` whose columns sum to zero, as a free intercept asks."""
        ...

    def max_scale(self, theta: Tensor) -> float:
        """Largest alpha >= 1 that keeps ``alpha * theta`` in the domain."""
        ...

    @staticmethod
    def link(outputs: Tensor) -> Tensor:
        """Mean predictions: probabilities, numbers, rates, relative risks."""
        ...

    def held_out(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean unweighted loss of outputs against other targets, a scalar."""
        ...

    def state(self) -> dict[str, Any]:
        """JSON description: name, number of outputs and options, no targets."""
        ...


@dataclass(frozen=True)
class TokenShape:
    """What a block must know of the tokens it acts on: how many, how wide, and the grid that they fill."""

    num_tokens: int
    width: int
    grid: tuple[int, int] | None = None


@dataclass(frozen=True)
class PairGate:
    """A mask between tokens that depends on their labels alone: ``D[t, u] = table[query[t], key[u]]``.

    ``query`` and ``key`` are integer labels ``(n, s)``, ``table`` is ``(query labels, key labels)``.
    """

    query: Tensor
    key: Tensor
    table: Tensor

    def mask(self) -> Tensor:
        """The mask itself, ``(n, s, s)``."""
        return self.table[self.query[:, :, None], self.key[:, None, :]]


@dataclass(frozen=True)
class TokenTable:
    """Which tokens see each other, by labels that an affine map of each token decides, or its place.

    Parameters
    ----------
    table : Tensor of bool, shape (labels, labels)
        Whether tokens of one label (rows) see those of another.
    weight, bias : Tensor, shape (maps, labels, d) and (maps, labels), or None
        The label of a token x under map m is the place of the largest of ``weight[m] x + bias[m]``. Without them it is
        the place of the token in its sample.
    """

    table: Tensor
    weight: Tensor | None = None
    bias: Tensor | None = None


GateKind = Literal["token", "feature", "pair"]
GateValues = Tensor | PairGate
"""Token gates are weights ``(n, s)``, feature gates ``(n, s, d)``, pair gates a mask ``(n, s, s)`` or a `PairGate`."""


class Block(Protocol):
    """A family of heads, linear in a matrix ``Z = sum_j u_j v_j^T``.

    Every block has the same shape inside: atom j turns sample i into ``k`` inner features ``h_ij = B_i u_j`` (linear
    in u), and the outputs are ``f_i = sum_j h_ij^T V_j`` with ``V_j`` of shape ``(k, c)``. So a block says only how u
    acts; u is stored as ``(atoms, *u_shape)`` and v as ``(atoms, k, c)``, and Z has ``p = prod(u_shape)`` rows and
    ``q = k c`` columns.

    A block first condenses the tokens of each sample, under one gate, to statistics; every later pass works on those
    alone. It is made for one `TokenShape`: ``Attention(shape, gated=False)``.

    A sample has one row of outputs, that of its pooled tokens; or one for each token, where no pooling weights are
    given to `statistics`. Below, ``rows`` is ``n`` or ``n s``, sample by sample.
    """

    name: str
    degree: int
    """How the features grow with the scale of the tokens: 1 for linear, 3 for attention."""
    gates: tuple[GateKind, ...]
    """Kinds of gates that it takes."""
    hides: bool
    """Whether tokens may be hidden (padded text); blocks on a grid refuse them."""
    per_token: bool
    """Whether every token may have a row of outputs of its own."""
    u_shape: tuple[int, ...]
    inner_width: int
    """k, the inner features of one atom."""

    def statistics(self, values: Tensor, pooling: Tensor | None, gate: GateValues | None = None) -> dict[str, Tensor]:
        """Statistics of conditioned tokens ``(n, s, d)`` under pooling weights ``(n, s)``; first axes are samples.

        Without pooling weights every token is a row of outputs.
        """
        ...

    def scores(self, values: Tensor, u: Tensor) -> Tensor:
        """What an activation would act on for one atom ``u``: ``(n, s)``, ``(n, s, d)`` or ``(n, s, s)``."""
        ...

    def inner(self, stats: Mapping[str, Tensor], u: Tensor) -> Tensor:
        """Inner features ``(rows, atoms, k)``."""
        ...

    def inner_adjoint(self, stats: Mapping[str, Tensor], grad: Tensor) -> Tensor:
        """Adjoint of `inner`: from ``(rows, atoms, k)`` to ``(atoms, *u_shape)``, summed over rows."""
        ...

    def adjoint(self, stats: Mapping[str, Tensor], theta: Tensor) -> Tensor:
        """``A*(theta)``, the matrix ``(p, q)`` with ``<A*(theta), Z> = <theta, A(Z)>``."""
        ...

    def mean_square(self, stats: Mapping[str, Tensor]) -> Tensor:
        """Squared norm of the features that multiply Z, ``(rows,)``; conditioning makes their summed variance one."""
        ...

    def token_outputs(
        self, values: Tensor, pooling: Tensor, u: Tensor, v: Tensor, gate: GateValues | None = None
    ) -> Tensor:
        """Share of each token in the pooled outputs, ``(n, s, c)``; summed over tokens it is the block's output."""
        ...


class FittedGates(Protocol):
    """Gates with their numbers, ready for tokens: masks that depend on the tokens and never on Z."""

    count: int

    def values(self, tokens: Tensor, index: int) -> GateValues:
        """Gate ``index`` on tokens ``(n, s, d)``, conditioned unless the family is `GateFamily.raw`."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """The numbers, as saved in a head."""
        ...


class GateFamily(Protocol):
    """A way of choosing gates.

    A family that is about tokens of one place in a backbone may also have ``check_origin(origin)``, which refuses
    others before a fit. ``origin`` is a mapping with ``backbone``, ``weights_hash``, ``layer``, ``at`` and
    ``preprocessing``, or None where nothing is known of where the tokens came from.
    """

    name: str
    kinds: tuple[GateKind, ...]
    raw: bool
    """Whether gates see the part's tokens as they came, instead of conditioned ones."""

    def fit(self, block: Block, shape: TokenShape, tokens: Iterable[Tensor], count: int, seed: int) -> FittedGates:
        """Choose ``count`` gates for a block from chunks of training tokens ``(n, s, d)``, some of them."""
        ...

    def restore(self, block: Block, shape: TokenShape, tensors: Mapping[str, Tensor]) -> FittedGates:
        """The gates that `FittedGates.tensors` describes."""
        ...


class Penalty(Protocol):
    """A penalty on one block's matrix Z and its share of the dual.

    ``kind`` is ``"norm"`` where the dual has a bound (``||A*(theta)||_2 <= beta``) and the variables are the
    factors, or ``"quadratic"`` where it has a term ``-||A*(theta)||_F^2 / (2 beta)`` and Z is kept whole.
    """

    name: str
    kind: Literal["norm", "quadratic"]
