"""What places of tokens add to the logits of a layer: rotary embeddings, relative biases, windows, sliding windows."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import torch
from torch import Tensor, nn

from ..contracts import Rotary, Windows
from ..errors import InputError
from .reading import Place

__all__ = ["read_bias", "read_rotary", "read_window"]


def read_rotary(place: Place, width: int) -> Rotary | None:
    """Rotary embedding of an attention head of ``width`` features; its tables are those of the model's own module.

    Raises
    ------
    InputError
        A module that does not give cosines and sines of the places 0, 1, 2 ... in a layout that is known.
    """
    attn = place.module
    own = getattr(attn, "rotary_emb", None)
    found = ("", own) if own is not None else place.nearest("rotary_emb")
    if found is not None and getattr(attn, "use_rope", True) is not False:
        return _sequence(found[1], place.path, width)
    found = place.nearest("rope")
    return None if found is None else _grid(place, *found)


def _sequence(module: Any, path: str, width: int) -> Rotary:
    """Hugging Face: ``rotary_emb(x, position_ids)`` gives cosines and sines of both coordinates of each pair."""

    def doubled(count: int) -> tuple[Tensor, Tensor]:
        like = next((b for b in (*module.buffers(), *module.parameters()) if b.is_floating_point()), torch.ones(1))
        places = torch.arange(count, device=like.device)[None]
        found = module(like.new_zeros(1, count, 1), places)
        if not isinstance(found, tuple) or len(found) != 2 or any(t.shape[:-1] != (1, count) for t in found):
            raise TypeError("it gives no cosines and sines (1, s, r)")
        return found[0][0], found[1][0]

    try:
        cos, _ = doubled(4)
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
        raise InputError(
            f"the rotary embedding of {path} ({type(module).__name__}) cannot be read: {str(error).splitlines()[0]}"
        ) from None
    pairs = cos.shape[-1] // 2
    if torch.equal(cos[:, :pairs], cos[:, pairs:]):
        layout, places = "halves", slice(0, pairs)
    elif torch.equal(cos[:, ::2], cos[:, 1::2]):
        layout, places = "neighbours", slice(0, None, 2)
    else:
        layout = ""
    if not layout or not 0 < 2 * pairs <= width:
        raise InputError(
            f"the rotary embedding of {path} ({type(module).__name__}) has tables of {cos.shape[-1]} features for "
            f"attention heads of {width}; each pair of coordinates was expected to have one cosine, twice"
        )

    def tables(count: int) -> tuple[Tensor, Tensor]:
        cos, sin = doubled(count)
        return cos[:, places], sin[:, places]

    return Rotary(tables, layout)  # type: ignore[arg-type]


def _grid(place: Place, path: str, rope: Any) -> Rotary:
    """timm: ``rope.get_embed()`` gives sines and cosines of the patch tokens, side by side; prefix tokens are free."""
    attn = place.module
    halves = bool(getattr(attn, "rotate_half", False))
    layer = place.layer()
    if layer is None or not hasattr(rope, "get_embed"):
        raise InputError(f"the rotary embedding of {place.path} ({type(rope).__name__}) is not understood")
    number = int(layer[0].rpartition(".")[2])
    model: Any = place.model.get_submodule(path)

    def tables(count: int) -> tuple[Tensor, Tensor]:
        sized = getattr(rope, "feat_shape", None) is not None
        table = rope.get_embed() if sized else rope.get_embed(shape=model.patch_embed.grid_size)
        if table.ndim == 4:  # frequencies of each layer and attention head
            table = table[number]
        sin, cos = (t[..., : t.shape[-1] // 2] if halves else t[..., ::2] for t in table.chunk(2, -1))
        prefix, known = count - cos.shape[-2], getattr(attn, "num_prefix_tokens", None)
        if prefix < 0 or prefix != known:
            raise InputError(
                f"{place.path} turns {cos.shape[-2]} patch tokens behind {known} others, got {count} tokens"
            )
        free = cos.new_ones((*cos.shape[:-2], prefix, cos.shape[-1]))
        return torch.cat((free, cos), -2), torch.cat((0 * free, sin), -2)

    return Rotary(tables, "halves" if halves else "neighbours")


_AROUND = (
    ("shared_rel_pos", "get_bias"),
    ("rel_pos_bias", "forward"),
    ("relative_position_bias", "forward"),
    ("shared_position_bias", "forward"),
)
"""Names by which libraries call a bias that is not a part of the attention module, and what makes it."""


def read_bias(place: Place) -> Tensor | None:
    """Bias of the logits ``(heads, s, s)``, in float64: of the layer, and what all layers of the model share.

    Raises
    ------
    InputError
        A bias by relative place that is kept in a way that is not known.
    """
    attn = place.module
    found = []
    if getattr(attn, "relative_position_bias_table", None) is not None:
        found.append(_evaluate(attn, "_get_rel_pos_bias", place.path))
    relative = getattr(attn, "rel_pos", None)
    if relative is not None:
        found.append(_evaluate(relative, "get_bias", f"{place.path}.rel_pos"))
    if getattr(attn, "relative_position_bias", None) is not None:
        found.append(_evaluate(attn.relative_position_bias, "forward", f"{place.path}.relative_position_bias"))
    # of the layer around the attention, or of the model, whose layers share it
    for name, method in _AROUND:
        shared = place.nearest(name)
        # a bias of the layer stands instead of the shared one in one kind of model, and beside it in the other
        if shared is not None and not (relative is not None and name == "shared_rel_pos"):
            found.append(_evaluate(shared[1], method, f"{shared[0]}.{name}".lstrip(".")))
    return sum(found[1:], found[0]) if found else None


def _evaluate(module: Any, method: str, path: str) -> Tensor:
    """The bias that a module makes from its own weights, ``(heads, s, s)``, in float64."""
    if not isinstance(module, nn.Module) or not hasattr(module, method):
        raise _unknown(module, path)
    # biases that a small network makes are made in float64; those that are looked up need no copy of the whole layer
    source = module if hasattr(module, "qkv") else copy.deepcopy(module).double().eval()
    make = getattr(source, method)
    needs = [p.name for p in inspect.signature(make).parameters.values() if p.default is p.empty]
    if not set(needs) <= {"window_size"} or any(not hasattr(source, name) for name in needs):
        raise _unknown(module, path)
    with torch.no_grad():
        bias: Tensor = make(*(getattr(source, name) for name in needs)).double()
    return bias[0] if bias.ndim == 4 else bias


def _unknown(module: Any, path: str) -> InputError:
    return InputError(f"{path} ({type(module).__name__}) has a relative position bias of a kind that is not understood")


def read_window(place: Place) -> Windows | int | None:
    """The windows of a layer, or how many tokens up to itself a token sees.

    Raises
    ------
    InputError
        Windows that do not divide the layer's grid, or that are made anew for each input.
    """
    attn = place.module
    layer = place.layer()
    if layer is not None and hasattr(layer[1], "shift_size") and hasattr(layer[1], "input_resolution"):
        return _shifted(layer[1], place.path)
    if getattr(attn, "window_area", None) is not None:
        raise InputError(f"{place.path} attends within windows of a kind that is not understood")
    if hasattr(attn, "sliding_window"):
        reach = attn.sliding_window
    else:
        reach = getattr(getattr(attn, "config", None), "sliding_window", None)
    return reach if isinstance(reach, int) and not isinstance(reach, bool) else None


def _shifted(layer: Any, path: str) -> Windows:
    """Swin: the grid is rolled back by the shift, then cut; what the roll brought together is hidden."""
    (height, width), size, shift = layer.input_resolution, layer.window_size, layer.shift_size
    if isinstance(size, int) and isinstance(shift, int):  # Hugging Face: cut down when the model runs
        shift = 0 if min(height, width) <= size else shift
        size, shift = (min(height, width, size),) * 2, (shift,) * 2
    if not isinstance(size, tuple):
        raise InputError(f"{path} attends within windows of a kind that is not understood")
    rows, columns = size
    if height % rows or width % columns or getattr(layer, "dynamic_mask", False):
        raise InputError(
            f"{path} has windows of {rows} x {columns} tokens on a grid of {height} x {width}, padded or made anew for "
            "each input; only windows that divide a fixed grid are described"
        )
    places = torch.arange(height * width).view(height, width).roll((-shift[0], -shift[1]), (0, 1))
    index = places.view(height // rows, rows, width // columns, columns).transpose(1, 2).reshape(-1, rows * columns)
    mask = getattr(layer, "attn_mask", None)
    if any(shift) and mask is None and hasattr(layer, "get_attn_mask"):
        mask = layer.get_attn_mask(height, width, torch.float32, index.device)
    if any(shift) and mask is None:
        raise InputError(f"{path} has shifted windows without a mask, which is not understood")
    return Windows(index, None if mask is None else mask == 0)
