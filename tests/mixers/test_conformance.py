"""Every mechanism against its slow reference, and held to each trait that it declares.

A new mechanism is one file in ``src/headwise/mixers`` and one in ``tests/mixers/references`` with ``CASES`` (options of
small examples) and ``reference(module, x, ...)``, and is covered here. ``LENGTHS`` in a reference says how many tokens
to try where any number will not do; ``SIZES`` the same of maps (rows and columns) and pairs (tokens and context);
``GROWS(n)`` which options the stated growth of the cost takes for n tokens.

What holds of a kind that has no mechanism yet (pairs) waits here for the first one.
"""

from __future__ import annotations

import importlib.util
import inspect
import math
from dataclasses import fields
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from headwise import AttentionMaps, InputError
from headwise.dissect import check, modes
from headwise.dissect.logits import record_logits
from headwise.mixers import MIXERS, create, list_mixers

REFERENCES = Path(__file__).parent / "references"


@cache
def reference_of(name: str):
    path = REFERENCES / f"{name}.py"
    assert path.exists(), f"{name} has no slow reference: write {path.name} with CASES and reference()"
    spec = importlib.util.spec_from_file_location(f"reference_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cases(kind: str, **traits):
    """(name, options) of all cases of a kind with these traits, which options may decide; each has its own id."""
    found = []
    for name in list_mixers(kind):
        for i, options in enumerate(reference_of(name).CASES):
            with torch.device("meta"):
                declared = create(name, **options).traits
            if all(getattr(declared, k) == v for k, v in traits.items()):
                found.append(pytest.param(name, options, id=f"{name}-{i}"))
    return found


def made(name: str, options: dict, seed: int = 0):
    """A mechanism in float64 with weights that leave nothing zero."""
    torch.manual_seed(seed)
    module = create(name, **options).double().eval()
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return module


def grid_of(module, num_tokens: int) -> dict:
    """The grid argument for so many tokens, where the mechanism has one."""
    if module.traits.grid == "none":
        return {}
    if module.config.grid is not None:
        return {"grid": module.config.grid}
    patches = num_tokens - module.config.num_prefix_tokens
    rows = next(r for r in range(math.isqrt(patches), 0, -1) if patches % r == 0)
    return {"grid": (rows, patches // rows)}


def lengths(name: str, options: dict) -> tuple[int, ...]:
    grid, prefix = options.get("grid"), options.get("num_prefix_tokens", 0)
    own = getattr(reference_of(name), "LENGTHS", (6, 5, 1))
    return (grid[0] * grid[1] + prefix,) if grid else tuple(n + prefix for n in own)


def tokens(name: str, options: dict, batch: int = 2, length: int | None = None, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    n = lengths(name, options)[0] if length is None else length
    return torch.randn(batch, n, options["dim"], generator=generator, dtype=torch.float64)


def masks_of(module, x):
    """The masks and the causal flag that a mechanism says it takes."""
    b, n, _ = x.shape
    found = [{}]
    generator = torch.Generator().manual_seed(2)
    if module.traits.mask:
        real = torch.rand(b, n, generator=generator) < 0.7
        real[0, 0] = True
        real[-1] = False  # a sample without tokens has a defined answer
        found.append({"mask": real})
    if module.traits.pair_mask:
        found.append({"mask": torch.rand(b, n, n, generator=generator) < 0.5})
    if module.traits.causal:
        found += [{**given, "causal": True} for given in found]
    return found


def same_gradients(fast, slow, at):
    """Two computations of the same thing have the same derivatives, one that is zero being left out or not."""
    weights = torch.randn(fast.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    ours = torch.autograd.grad((fast * weights).sum(), at, allow_unused=True)
    theirs = torch.autograd.grad((slow * weights).sum(), at, allow_unused=True)
    for a, b in zip(ours, theirs, strict=True):
        a, b = (torch.zeros(()) if g is None else g for g in (a, b))
        torch.testing.assert_close(
            a.double().expand_as(b) if a.ndim == 0 else a,
            b.double().expand_as(a) if b.ndim == 0 else b,
            rtol=1e-9,
            atol=1e-10,
        )


def seeded(module, *x, **given):
    torch.manual_seed(5)
    return module(*x, **given)


HALVES = (torch.float16, torch.bfloat16)


def near(found, wanted, dtype):
    """As the documentation says of half precision: the root of the mean squared error, in steps of the format."""
    error, size = (t.detach().double().norm() for t in (found.double() - wanted.double(), wanted))
    assert error <= 4 * torch.finfo(dtype).eps * size, float(error / size)


def grows(name, n):
    return getattr(reference_of(name), "GROWS", lambda n: {})(n)


def test_there_is_something_to_test():
    assert list_mixers("tokens")
    assert sorted(p.stem for p in REFERENCES.glob("*.py")) == sorted(MIXERS.names())


@pytest.mark.parametrize(("name", "options"), cases("tokens"))
def test_equals_the_slow_reference(name, options):
    module = made(name, options)
    for length in lengths(name, options):
        x = tokens(name, options, length=length).requires_grad_()
        for given in masks_of(module, x):
            given = {**given, **grid_of(module, length)}
            fast, slow = module(x, **given), reference_of(name).reference(module, x, **given)
            places = module.out_grid(given.get("grid"))
            wanted = length if places is None else places[0] * places[1] + module.config.num_prefix_tokens
            assert fast.shape == (len(x), wanted, x.shape[2])
            torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-10)
            same_gradients(fast, slow, [x, *(p for p in module.parameters() if p.requires_grad)])


@pytest.mark.parametrize(("name", "options"), cases("tokens"))
def test_a_batch_of_one(name, options):
    """With every mask and the causal flag: one sample must not be taken for a mask that all samples share."""
    module, x = made(name, options), tokens(name, options)
    for given in masks_of(module, x):
        for i in range(len(x)):
            one = {k: v[i : i + 1] if k == "mask" else v for k, v in given.items()} | grid_of(module, x.shape[1])
            wanted = reference_of(name).reference(module, x[i : i + 1], **one)
            torch.testing.assert_close(module(x[i : i + 1], **one), wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("name", "options"), cases("tokens", grid="any"))
def test_grids_that_are_odd_or_tall(name, options):
    module = made(name, options)
    for rows, columns in ((3, 3), (5, 2), (4, 1)):
        x = tokens(name, options, length=rows * columns + module.config.num_prefix_tokens)
        wanted = reference_of(name).reference(module, x, grid=(rows, columns))
        torch.testing.assert_close(module(x, grid=(rows, columns)), wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("name", "options"), cases("tokens"))
def test_one_token(name, options):
    given = {"grid": (1, 1)} if MIXERS.get(name).traits.grid != "none" else {}
    module = made(name, {**options, **grows(name, 1), **given})
    x = tokens(name, options, length=1 + module.config.num_prefix_tokens)
    for more in masks_of(module, x):
        wanted = reference_of(name).reference(module, x, **more, **given)
        torch.testing.assert_close(module(x, **more, **given), wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("name", "options"), cases("tokens"))
def test_half_precision(name, options):
    for dtype in HALVES:
        module, x = made(name, options).to(dtype), tokens(name, options).to(dtype)
        given = grid_of(module, x.shape[1])
        found = module(x, **given)
        assert found.dtype == dtype
        near(found, module.double()(x.double(), **given), dtype)


@pytest.mark.parametrize(("name", "options"), cases("tokens"))
def test_gradients_by_differences(name, options):
    module = made(name, options)
    x = tokens(name, options, batch=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: module(x, **grid_of(module, x.shape[1])), (x,))


@pytest.mark.parametrize(("name", "options"), cases("tokens", permutation_equivariant=True))
def test_another_order_gives_the_outputs_in_that_order(name, options):
    module, x = made(name, options), tokens(name, options)
    order = torch.randperm(x.shape[1], generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(module(x[:, order]), module(x)[:, order], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "options"), cases("tokens", shift_equivariant=True))
def test_shifts_of_the_grid_shift_the_outputs(name, options):
    module, x = made(name, options), tokens(name, options)
    given = grid_of(module, x.shape[1])
    rows, columns = given["grid"]

    def shifted(y):
        return y.view(len(y), rows, columns, -1).roll((1, 2), (1, 2)).reshape(y.shape)

    torch.testing.assert_close(module(shifted(x), **given), shifted(module(x, **given)), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("name", "options"), cases("tokens", batch_independent=True))
def test_samples_do_not_meet(name, options):
    module, x = made(name, options), tokens(name, options, batch=3)
    given = grid_of(module, x.shape[1])
    for training in (False, True):
        module.train(training)
        together, alone = seeded(module, x, **given)[1:2], seeded(module, x[1:2], **given)
        torch.testing.assert_close(alone, together, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "options"), cases("tokens"))
def test_a_nan_stays_in_its_sample(name, options):
    module, x = made(name, options), tokens(name, options, batch=3)
    given = grid_of(module, x.shape[1])
    for training in (False, True):
        module.train(training)
        for places in (slice(None), slice(1)):
            poisoned = x.clone()
            poisoned[0, places] = torch.nan
            assert torch.isfinite(module(poisoned, **given)[1:]).all()


@pytest.mark.parametrize(("name", "options"), cases("tokens", mask=True))
def test_padding_never_tells(name, options):
    """Whatever stands in it, NaN included: not in the outputs, not in a gradient, not in what training remembers."""
    mask = torch.ones(tokens(name, options).shape[:2], dtype=torch.bool)
    mask[:, -2:] = False
    for training in (False, True):
        found = []
        for padding in (0.0, torch.nan):
            module, x = made(name, options).train(training), tokens(name, options)
            x = torch.where(mask[..., None], x, torch.full_like(x, padding)).requires_grad_()
            given = grid_of(module, x.shape[1])
            out = seeded(module, x, mask=mask, **given)
            real = module.out_mask(mask, given.get("grid"))
            assert real.shape == out.shape[:2] and not out[~real].any()
            out.square().sum().backward()
            assert not x.grad[~mask].any()
            found.append([out, x.grad, *(p.grad for p in module.parameters()), *module.buffers()])
        torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-11)
        assert not module(x, mask=torch.zeros_like(mask), **given).any()


@pytest.mark.parametrize(("name", "options"), cases("tokens", pair_mask=True, batch_independent=True))
def test_hidden_pairs_never_tell(name, options):
    module, x = made(name, options), tokens(name, options)
    given = grid_of(module, x.shape[1])
    mask = torch.rand(*x.shape[:2], x.shape[1], generator=torch.Generator().manual_seed(2)) < 0.5
    changed = x.clone()
    changed[:, 2] += 1
    blind = ~mask[:, :, 2]
    blind[:, 2] = False  # its own output does change
    assert blind.any()
    torch.testing.assert_close(
        module(changed, mask=mask, **given)[blind], module(x, mask=mask, **given)[blind], rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(("name", "options"), cases("tokens", causal=True))
def test_the_future_never_tells(name, options):
    module, x = made(name, options), tokens(name, options)
    given = grid_of(module, x.shape[1])
    changed = x.clone()
    changed[:, 3:] += 1
    torch.testing.assert_close(
        module(changed, causal=True, **given)[:, :3], module(x, causal=True, **given)[:, :3], rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(("name", "options"), cases("tokens"))
def test_what_is_not_declared_is_refused(name, options):
    module, x = made(name, options), tokens(name, options)
    traits, n = module.traits, x.shape[1]
    given = grid_of(module, n)
    if not traits.mask:
        with pytest.raises(InputError, match="mask of tokens"):
            module(x, mask=torch.ones(2, n, dtype=torch.bool), **given)
    if not traits.pair_mask:
        with pytest.raises(InputError, match="mask of pairs"):
            module(x, mask=torch.ones(2, n, n, dtype=torch.bool), **given)
    if not traits.causal:
        with pytest.raises(InputError, match="causal"):
            module(x, causal=True, **given)
    if traits.grid == "none":
        with pytest.raises(InputError, match="no grid"):
            module(x, grid=(1, n))
    else:
        for wrong in ((n + 1, 7), (0, n), (-1, -n), (n,), (1.0, n), (), n):
            with pytest.raises(InputError, match="grid"):
                module(x, grid=wrong)
            with pytest.raises(InputError, match="grid"):
                create(name, **{**options, "grid": wrong})(x)
    if not traits.prefix:
        with pytest.raises(InputError, match="prefix"):
            create(name, **{**options, "num_prefix_tokens": 1})
    for wrong in (torch.ones(2, n), torch.ones(2, n, dtype=torch.long)):
        with pytest.raises(InputError, match="boolean"):
            module(x, mask=wrong, **given)
    for shape in ((2, n + 1), (1, n), (n,), (2, n, n + 1), (2, 1, n, n)):
        with pytest.raises(InputError, match=rf"mask must be \(2, {n}\)"):
            module(x, mask=torch.ones(shape, dtype=torch.bool), **given)
    for wrong in (x[..., 1:], x[0], x[:, :, None]):
        with pytest.raises(InputError, match=str(options["dim"])):
            module(wrong, **given)
    for wrong in (x[:0], x[:, :0]):
        with pytest.raises(InputError, match="at least one"):
            module(wrong, **given)
    with pytest.raises(InputError, match="did you mean dim"):
        create(name, **{**options, "dims": 8})


DIVISORS = ("num_heads", "num_kv_heads", "num_blocks", "num_groups", "head_dim")
SUMMANDS = ("mlp_mixer",)  # whose heads are added, not laid side by side


@pytest.mark.parametrize("name", [name for name in MIXERS.names() if name not in SUMMANDS])
def test_parts_that_do_not_divide_are_refused(name):
    options = reference_of(name).CASES[0]
    for what in set(DIVISORS) & {f.name for f in fields(MIXERS.get(name).Config)}:
        for wrong in (options["dim"] + 1, 0, 1.5):
            with pytest.raises(InputError, match=f"{what}(=| .*got ){wrong}"):
                create(name, **{**options, what: wrong})


ALL = [case for kind in ("tokens", "map", "pair") for case in cases(kind)]


@pytest.mark.parametrize(("name", "options"), cases("tokens", query_key=True))
def test_query_key_describes_the_logits(name, options):
    """Dissection finds them in the running layer and reads its modes; a record that leaves something out says so."""
    module, x = made(name, options), tokens(name, options)
    given, record = grid_of(module, x.shape[1]), module.query_key()
    heads, _, width = record.query.shape
    assert width == options["dim"] and heads == record.groups * record.key.shape[0]
    assert modes(record).leaves_out == record.leaves_out
    model = SimpleNamespace(
        model=torch.nn.ModuleDict({name: module}), tokens=lambda x: module(x, **given), query_keys=lambda: [record]
    )
    if not record.leaves_out:
        assert check(model, [record], x, [modes(record)]).largest < 1e-6
        assert AttentionMaps(record).record is record
        return
    with pytest.raises(InputError):
        check(model, [record], x)
    for refuses in (AttentionMaps, lambda record: record_logits(record, x)):
        with pytest.raises(InputError, match=f"{name} has {record.leaves_out}"):
            refuses(record)


@pytest.mark.parametrize(("name", "options"), ALL)
def test_what_it_cannot_be_is_refused_by_name(name, options):
    module = made(name, options)
    for declared, asks in ((module.traits.query_key, module.query_key), (module.traits.gate, module.as_gate)):
        if not declared:
            with pytest.raises(InputError, match=rf"\b{name}\b"):
                asks()


@pytest.mark.parametrize(("name", "options"), ALL)
def test_what_is_no_tensor_is_refused(name, options):
    module = made(name, options)
    x = (tokens(name, options),) if module.kind == "tokens" else inputs(name, options)
    given = grid_of(module, x[0].shape[1]) if module.kind == "tokens" else {}
    for i in range(len(x)):
        for wrong, says in ((x[i].numpy(), "ndarray"), (x[i].tolist(), "list"), (x[i].long(), "torch.int64")):
            with pytest.raises(InputError, match=f"got {says}"):
                module(*x[:i], wrong, *x[i + 1 :], **given)
    if module.traits.mask:
        mask = torch.ones(x[-1].shape[:2], dtype=torch.bool)
        for wrong in (mask.tolist(), mask.numpy()):
            with pytest.raises(InputError, match="boolean torch tensor, got"):
                module(*x, mask=wrong, **given)
    if module.kind == "tokens":
        with pytest.raises(InputError, match="causal must be True or False, got 'no'"):
            module(*x, causal="no", **given)


@pytest.mark.parametrize(("name", "options"), cases("tokens", prefix=True))
def test_fewer_tokens_than_the_prefix_are_refused(name, options):
    x = tokens(name, options)
    module = made(name, {**options, "num_prefix_tokens": x.shape[1] + 1})
    for asks in (module, lambda x: module.cost(x.shape[1])):
        with pytest.raises(InputError, match=f"num_prefix_tokens={x.shape[1] + 1} in front .* got {x.shape[1]} tokens"):
            asks(x)


def first_case_now(found):
    """The first case of each mechanism in the everyday run, the others marked slow: each takes torch seconds."""
    return [c if c.id.endswith("-0") else pytest.param(*c.values, id=c.id, marks=pytest.mark.slow) for c in found]


def check_export(module, x, given):
    """torch.export for batches of any size, one included; the program is made with a batch of two."""
    batch = torch.export.Dim("batch")
    names = list(inspect.signature(module.forward).parameters)
    shapes = {
        what: {0: batch} if isinstance(value, torch.Tensor) else (None,) * len(value) if what == "grid" else None
        for what, value in (*zip(names, x, strict=False), *given.items())
    }
    program = torch.export.export(module, x, given, dynamic_shapes=shapes).module()
    for rows in ([0], [0, 1], [1, 0, 1]):
        some = {k: v[rows] if isinstance(v, torch.Tensor) else v for k, v in given.items()}
        parts = [part[rows] for part in x]
        torch.testing.assert_close(program(*parts, **some), module(*parts, **some))


def check_programs(module, x, given):
    """torch.export of any batch, torch.compile in one piece, autocast, and gradients computed twice instead of kept."""
    wanted = module(*x, **given)
    torch.testing.assert_close(module(*x, **given), wanted, rtol=0, atol=0)  # nothing is drawn or remembered in eval
    check_export(module, x, given)
    torch.compiler.reset()  # mechanisms share one forward, and torch compiles it for no more than a few classes
    torch.testing.assert_close(torch.compile(module, backend="eager", fullgraph=True)(*x, **given), wanted)
    for dtype in HALVES:
        with torch.autocast("cpu", dtype=dtype):
            near(module(*x, **given), wanted, dtype)
    at = x[0].clone().requires_grad_()
    direct = torch.autograd.grad(module(at, *x[1:], **given).square().sum(), at)[0]
    again = torch.autograd.grad(checkpoint(module, at, *x[1:], use_reentrant=False, **given).square().sum(), at)[0]
    torch.testing.assert_close(again, direct)


@pytest.mark.parametrize(("name", "options"), first_case_now(cases("tokens")))
def test_programs(name, options):
    module = made(name, options).float()
    x = tokens(name, options).float()
    state = {k: v.clone() for k, v in module.state_dict().items()}
    plain, *_, masked = masks_of(module, x) * 2
    for given in (plain, masked) if masked else (plain,):
        check_programs(module, (x,), {**given, **grid_of(module, x.shape[1])})
    torch.testing.assert_close(module.state_dict(), state, rtol=0, atol=0)


LARGE = (1024, 4096, 16384)


def counted(module, n, *x, **given):
    """FLOPs as torch counts them, without a number computed: on the meta device. The cost card must say the same."""
    with FlopCounterMode(display=False) as counter:
        module(*x, **given)
    cost = module.cost(n, **given)
    assert cost.parameters == sum(p.numel() for p in module.parameters())
    assert cost.flops == counter.get_total_flops()
    assert cost.memory > 0
    return cost.flops


def growth(found):
    """Exponent of what was found for the last two of `LARGE`."""
    return math.log(found[-1] / found[-2]) / math.log(LARGE[-1] / LARGE[-2])


@pytest.mark.parametrize(("name", "options"), cases("tokens"))
def test_cost_card(name, options):
    options = {k: v for k, v in options.items() if k not in ("grid", "num_prefix_tokens")}
    found = []
    for n in LARGE:
        given = {} if MIXERS.get(name).traits.grid == "none" else {"grid": (math.isqrt(n),) * 2}
        with torch.device("meta"):
            module = create(name, **{**options, **grows(name, n), **given}).eval()
            found.append(counted(module, n, torch.empty(1, n, options["dim"])))
    assert growth(found) == pytest.approx(module.traits.exponent, abs=0.05)


@pytest.mark.parametrize(("name", "options"), first_case_now(cases("tokens")))
def test_cost_card_of_small_and_odd_grids(name, options):
    """Where blocks do not fill the grid, and frequencies are more than it has; without a grid it is nearly square."""
    options = {k: v for k, v in options.items() if k not in ("grid", "num_prefix_tokens")}
    for grid in ((3, 5), (2, 2), (7, 2)):
        n, kind = math.prod(grid), MIXERS.get(name).traits.grid
        own = {"grid": grid} if kind == "fixed" else {}
        given = {} if kind == "none" else {"grid": grid}
        with torch.device("meta"):
            module = create(name, **{**options, **grows(name, n), **own}).eval()
            counted(module, n, torch.empty(1, n, options["dim"]), **given)
        if grid[0] <= grid[1]:
            assert module.cost(n) == module.cost(n, **given)


@pytest.mark.parametrize(("name", "options"), ALL)
def test_cost_cards_are_asked_for_with_sense(name, options):
    module, n = made(name, options), 6 if MIXERS.get(name).kind != "tokens" else lengths(name, options)[0]
    for wrong in (0, -n, n + 0.5, str(n), None):
        with pytest.raises(InputError, match="num_tokens must be a whole number of at least 1"):
            module.cost(wrong)
    for wrong in ((n + 1, 7), (0, n), n, "grid"):
        with pytest.raises(InputError, match="grid"):
            module.cost(n, grid=wrong)
    assert module.cost(n).memory > 0


# Maps and pairs: the same questions, where they have an answer.

OTHERS = ("map", "pair")
SIZES = {"map": ((3, 4), (3, 3), (5, 1), (1, 1)), "pair": ((5, 3), (3, 4), (1, 1))}


def others(**traits):
    return [case for kind in OTHERS for case in cases(kind, **traits)]


def sizes(name):
    return getattr(reference_of(name), "SIZES", SIZES[MIXERS.get(name).kind])


def inputs(name, options, batch=2, size=None):
    """One map, or tokens and their context."""
    generator, size, d = torch.Generator().manual_seed(1), size or sizes(name)[0], options["dim"]
    shapes = [(batch, d, *size)] if MIXERS.get(name).kind == "map" else [(batch, n, d) for n in size]
    return tuple(torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes)


def context_masks(module, x):
    found = [{}]
    if module.kind == "pair" and module.traits.mask:
        real = torch.rand(x[1].shape[:2], generator=torch.Generator().manual_seed(2)) < 0.7
        real[0, 0] = True
        real[-1] = False  # a context without tokens has a defined answer
        found.append({"mask": real})
    return found


@pytest.mark.parametrize(("name", "options"), others())
def test_others_equal_the_slow_reference(name, options):
    module = made(name, options)
    for size in sizes(name):
        x = tuple(part.requires_grad_() for part in inputs(name, options, size=size))
        for given in context_masks(module, x):
            fast, slow = module(*x, **given), reference_of(name).reference(module, *x, **given)
            assert fast.shape == x[0].shape
            one = {k: v[:1] for k, v in given.items()}
            torch.testing.assert_close(module(*(part[:1] for part in x), **one), slow[:1], rtol=1e-10, atol=1e-10)
            torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-10)
            same_gradients(fast, slow, [*x, *(p for p in module.parameters() if p.requires_grad)])


@pytest.mark.parametrize(("name", "options"), others())
def test_gradients_of_others_by_differences(name, options):
    x = tuple(part.requires_grad_() for part in inputs(name, options, batch=1))
    assert torch.autograd.gradcheck(made(name, options), x)


@pytest.mark.parametrize(("name", "options"), others(batch_independent=True))
def test_samples_of_others_do_not_meet(name, options):
    module, x = made(name, options), inputs(name, options, batch=3)
    for training in (False, True):
        module.train(training)
        torch.testing.assert_close(module(*(p[1:2] for p in x)), module(*x)[1:2], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "options"), others())
def test_a_nan_in_others_stays_in_its_sample(name, options):
    module, x = made(name, options), inputs(name, options, batch=3)
    for training in (False, True) if module.traits.batch_independent else (False,):
        module.train(training)
        for i in range(len(x)):
            poisoned = tuple(p.clone() for p in x)
            poisoned[i][0] = torch.nan
            assert torch.isfinite(module(*poisoned)[1:]).all()


@pytest.mark.parametrize(("name", "options"), others(permutation_equivariant=True))
def test_others_in_another_order(name, options):
    module, (x, *context) = made(name, options), inputs(name, options)
    axis = 2 if module.kind == "map" else 1

    def shuffled(y):
        flat = y.flatten(2) if module.kind == "map" else y
        order = torch.randperm(flat.shape[axis], generator=torch.Generator().manual_seed(4))
        return flat.index_select(axis, order).view(y.shape)

    torch.testing.assert_close(module(shuffled(x), *context), shuffled(module(x, *context)), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "options"), cases("map", shift_equivariant=True))
def test_shifts_of_a_map_shift_the_output(name, options):
    module, (x,) = made(name, options), inputs(name, options)
    torch.testing.assert_close(module(x.roll((1, 2), (2, 3))), module(x).roll((1, 2), (2, 3)), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "options"), cases("pair", mask=True))
def test_padding_of_the_context_never_tells(name, options):
    module, (x, context) = made(name, options), inputs(name, options)
    mask = torch.ones(context.shape[:2], dtype=torch.bool)
    mask[:, -2:] = False
    poisoned = torch.where(mask[..., None], context, torch.full_like(context, torch.nan))
    torch.testing.assert_close(module(x, poisoned, mask=mask), module(x, context, mask=mask), rtol=0, atol=1e-12)
    assert torch.isfinite(module(x, context, mask=torch.zeros_like(mask))).all()


@pytest.mark.parametrize(("name", "options"), others())
def test_others_refuse_what_is_not_declared(name, options):
    module, x = made(name, options), inputs(name, options)
    with pytest.raises(InputError, match="did you mean dim"):
        create(name, **{**options, "dims": 8})
    if not module.traits.prefix:
        with pytest.raises(InputError, match="prefix"):
            create(name, **{**options, "num_prefix_tokens": 1})
    if module.kind == "map":
        for wrong in (x[0][0], x[0][:, 1:], x[0].flatten(2)):
            with pytest.raises(InputError, match=str(options["dim"])):
                module(wrong)
        for wrong in (x[0][:0], x[0][:, :, :0], x[0][..., :0]):
            with pytest.raises(InputError, match="at least one"):
                module(wrong)
        return
    for wrong in ((x[0][..., 1:], x[1]), (x[0], x[1][..., 1:]), (x[0][0], x[1]), (x[0], x[1][:1])):
        with pytest.raises(InputError, match=str(options["dim"])):
            module(*wrong)
    for wrong in ((x[0][:0], x[1][:0]), (x[0][:, :0], x[1]), (x[0], x[1][:, :0])):
        with pytest.raises(InputError, match="at least one"):
            module(*wrong)
    ones = torch.ones(x[1].shape[:2])
    with pytest.raises(InputError, match="boolean" if module.traits.mask else "no mask"):
        module(*x, mask=ones)
    with pytest.raises(InputError, match="boolean" if module.traits.mask else "no mask"):
        module(*x, mask=ones[:, 1:].bool())


@pytest.mark.parametrize(("name", "options"), others())
def test_half_precision_of_others(name, options):
    for dtype in HALVES:
        module, x = made(name, options).to(dtype), tuple(part.to(dtype) for part in inputs(name, options))
        found = module(*x)
        assert found.dtype == dtype
        near(found, module.double()(*(part.double() for part in x)), dtype)


@pytest.mark.parametrize(("name", "options"), first_case_now(others()))
def test_programs_of_others(name, options):
    module = made(name, options).float()
    x = tuple(part.float() for part in inputs(name, options))
    for given in context_masks(module, x):
        check_programs(module, x, given)


@pytest.mark.parametrize(("name", "options"), others())
def test_cost_card_of_others(name, options):
    """As for tokens; a pair has as many tokens as its context."""
    found = []
    for n in LARGE:
        size = (math.isqrt(n),) * 2 if MIXERS.get(name).kind == "map" else (n, n)
        with torch.device("meta"):
            module = create(name, **options).eval()
        x = [torch.empty(part.shape, device="meta") for part in inputs(name, options, batch=1, size=size)]
        found.append(counted(module, n, *x))
    assert growth(found) == pytest.approx(module.traits.exponent, abs=0.05)
