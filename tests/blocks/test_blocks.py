"""What every registered block must hold: one linear map, told in five ways, with and without a gate."""

from __future__ import annotations

from math import prod

import pytest
import torch

from headwise.blocks import BLOCKS, pieces
from headwise.blocks.attention import Attention
from headwise.blocks.fno import Fno
from headwise.blocks.hadamard import Hadamard
from headwise.contracts import PairGate, TokenShape
from headwise.errors import InputError

N, S, D, C = 5, 6, 4, 3
GRID = (2, 3)


def shifted(X, k, sides):
    """Tokens rolled by ``k`` places along each side of the grid."""
    return torch.roll(X.view(*sides, -1), k, dims=tuple(range(len(sides)))).view(X.shape)


def convolution(X, u, sides=GRID):
    places = torch.cartesian_prod(*[torch.arange(side) for side in sides]).view(-1, len(sides)).tolist()
    return sum(shifted(X, tuple(place), sides) @ u[k] for k, place in enumerate(places))


def depthwise(X, u, sides, size):
    """Cross-correlation with a filter, zero beyond the border, as `torch.nn.functional.conv` has it."""
    d, half = X.shape[1], size // 2
    weight = u.T.reshape(d, 1, *[size] * len(sides))
    conv = torch.nn.functional.conv1d if len(sides) == 1 else torch.nn.functional.conv2d
    return conv(X.T.view(1, d, *sides), weight, padding=half, groups=d).view(d, -1).T


CASES = {
    # name: (options, textbook output of one atom: X, pooling p, U, V and mask D)
    "linear": ({}, lambda X, p, U, V, D: p @ X @ U @ V),
    "mlp": ({}, lambda X, p, U, V, D: p @ (D[:, None] * (X @ U)[:, None]) @ V),
    "attention": ({}, lambda X, p, U, V, D: p @ (D * (X @ U @ X.T)) @ X @ V),
    "fno": ({}, lambda X, p, U, V, D: p @ (D * convolution(X, U))[:, None] @ V),
    "fno, sequence": ({"dims": 1}, lambda X, p, U, V, D: p @ (D * convolution(X, U, (S,)))[:, None] @ V),
    "bfno": ({}, lambda X, p, U, V, D: p @ (D * convolution(X, U))[:, None] @ V),
    "mlp_mixer": ({}, lambda X, p, U, V, D: p @ (D * (U @ X)) @ V),
    "hadamard": ({}, lambda X, p, U, V, D: p @ (D * (X @ U) * X) @ V),
    "hadamard, filter": ({"filter_size": 3}, lambda X, p, U, V, D: p @ (D * depthwise(X, U, GRID, 3) * X) @ V),
}
"""A new block adds one line."""

cases = pytest.mark.parametrize("case", CASES)
both = pytest.mark.parametrize("gated", [False, True])
few_and_many = pytest.mark.parametrize("count", [2, 7], ids=["few atoms", "more atoms than features"])


def tokens(seed: int = 0, hidden: int = 0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(N, S, D, generator=generator, dtype=torch.float64)
    pooling = torch.full((N, S), 1.0, dtype=torch.float64)
    if hidden:
        values[:, -hidden:], pooling[:, -hidden:] = 0, 0
    return values, pooling / pooling.sum(1, keepdim=True)


def make(case: str, gated: bool):
    kind = BLOCKS.get(case.split(",")[0])
    if gated and not kind.gates:
        pytest.skip(f"{case} takes no gates")
    return kind(TokenShape(S, D, GRID), gated=gated, **CASES[case][0])


def gate_of(block, values, gated):
    """Half of the scores of a fixed random atom are open; real numbers, so that nothing depends on 0 and 1."""
    if not gated:
        return None
    generator = torch.Generator().manual_seed(7)
    scores = block.scores(values, torch.randn(block.u_shape, generator=generator, dtype=torch.float64))
    return (scores >= 0).double() * 1.5


def atoms(block, count: int, seed: int = 1):
    generator = torch.Generator().manual_seed(seed)
    u = torch.randn(count, *block.u_shape, generator=generator, dtype=torch.float64)
    v = torch.randn(count, block.inner_width, C, generator=generator, dtype=torch.float64)
    return u, v


def outputs(block, stats, u, v):
    return block.inner(stats, u).flatten(1) @ v.flatten(0, 1)


def test_every_block_has_a_case():
    assert {case.split(",")[0] for case in CASES} == set(BLOCKS.names())


@few_and_many
@cases
@both
def test_textbook_formula(case, gated, count):
    block = make(case, gated)
    values, pooling = tokens()
    gate = gate_of(block, values, gated)
    u, v = atoms(block, count)
    found = outputs(block, block.statistics(values, pooling, gate), u, v)
    for i in range(N):
        mask = torch.ones((), dtype=torch.float64).expand(S) if gate is None else gate[i]
        if gate is None and case == "attention":
            mask = torch.ones(S, S, dtype=torch.float64)
        if gate is None and case.startswith(("hadamard", "mlp_mixer")):
            mask = torch.ones(S, D, dtype=torch.float64)
        wanted = 0
        for j in range(count):
            U = u[j]
            if case == "mlp_mixer" and not gated:  # the vector stands for a whole matrix of the same norm
                U = torch.outer(pooling[i] / pooling[i].norm(), u[j])
            if case == "linear":
                U = u[j][:, None]
            wanted = wanted + CASES[case][1](values[i], pooling[i], U, v[j], mask)
        torch.testing.assert_close(found[i], wanted)


@few_and_many
@cases
@both
def test_inner_and_its_adjoint(case, gated, count):
    block = make(case, gated)
    values, pooling = tokens()
    stats = block.statistics(values, pooling, gate_of(block, values, gated))
    u, _ = atoms(block, count)
    h = block.inner(stats, u)
    g = torch.randn(h.shape, dtype=h.dtype, generator=torch.Generator().manual_seed(2))
    back = block.inner_adjoint(stats, g)
    assert back.shape == u.shape
    assert float((h * g).sum()) == pytest.approx(float((u * back).sum()))


@few_and_many
@cases
@both
@pytest.mark.parametrize("pooled", [True, False], ids=["pooled", "each token"])
def test_pieces_of_the_samples_make_no_difference(case, gated, count, pooled, monkeypatch):
    block = make(case, gated) if pooled else make_per_token(case, gated)
    values, pooling = tokens()
    stats = block.statistics(values, pooling if pooled else None, gate_of(block, values, gated))
    u, _ = atoms(block, count)
    h = block.inner(stats, u)
    g = torch.randn(h.shape, dtype=h.dtype, generator=torch.Generator().manual_seed(2))
    back = block.inner_adjoint(stats, g)
    for piece in (1, 70, 150, 400):  # numbers: one sample, and several with a rest
        monkeypatch.setattr(pieces, "PIECE", piece)
        torch.testing.assert_close(block.inner(stats, u), h)
        torch.testing.assert_close(block.inner_adjoint(stats, g), back)


@cases
@both
def test_adjoint_is_that_of_the_outputs(case, gated):
    block = make(case, gated)
    values, pooling = tokens()
    stats = block.statistics(values, pooling, gate_of(block, values, gated))
    u, v = atoms(block, 1)
    theta = torch.randn(N, C, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    matrix = block.adjoint(stats, theta)
    assert matrix.shape == (prod(block.u_shape), block.inner_width * C)
    Z = torch.outer(u.flatten(), v.flatten())
    assert float((matrix * Z).sum()) == pytest.approx(float((theta * outputs(block, stats, u, v)).sum()))


@cases
@both
def test_token_outputs_sum_to_the_outputs(case, gated):
    block = make(case, gated)
    values, pooling = tokens()
    gate = gate_of(block, values, gated)
    u, v = atoms(block, 2)
    shares = block.token_outputs(values, pooling, u, v, gate)
    assert shares.shape == (N, S, C)
    torch.testing.assert_close(shares.sum(1), outputs(block, block.statistics(values, pooling, gate), u, v))


@cases
@both
def test_mean_square_is_the_norm_of_the_features(case, gated):
    block = make(case, gated)
    values, pooling = tokens()
    gate = gate_of(block, values, gated)
    square = block.mean_square(block.statistics(values, pooling, gate))
    for i in range(N):
        own = None if gate is None else gate[i : i + 1]
        stats = block.statistics(values[i : i + 1], pooling[i : i + 1], own)
        features = block.adjoint(stats, torch.ones(1, 1, dtype=torch.float64))
        assert float(square[i]) == pytest.approx(float(features.square().sum()))


@cases
@both
def test_degree(case, gated):
    block = make(case, gated)
    values, pooling = tokens()
    gate = gate_of(block, values, gated)
    u, v = atoms(block, 1)
    one = outputs(block, block.statistics(values, pooling, gate), u, v)
    two = outputs(block, block.statistics(2 * values, pooling, gate), u, v)
    torch.testing.assert_close(two, 2**block.degree * one)


@pytest.mark.parametrize("case", [c for c in CASES if make(c, False).hides])
def test_hidden_tokens_never_matter(case):
    block = make(case, False)
    values, pooling = tokens(hidden=2)
    u, v = atoms(block, 2)
    short = outputs(block, block.statistics(values[:, :-2], pooling[:, :-2]), u, v)
    torch.testing.assert_close(outputs(block, block.statistics(values, pooling), u, v), short)


@pytest.mark.parametrize("many", [False, True], ids=["Gram form", "token form"])
def test_attention_keeps_labels_and_masks_alike(many):
    """A gate by labels gives what the mask that it stands for gives, in both forms that the block may keep."""
    block = make("attention", True)
    values, pooling = tokens()
    generator = torch.Generator().manual_seed(5)
    labels = S if many else 2
    query = torch.randint(labels, (N, S), generator=generator)
    key = torch.randint(labels, (N, S), generator=generator)
    gate = PairGate(query, key, torch.randn(labels, labels, generator=generator, dtype=torch.float64))
    u, v = atoms(block, 2)
    theta = torch.randn(N, C, dtype=torch.float64, generator=generator)
    by_label, by_mask = block.statistics(values, pooling, gate), block.statistics(values, pooling, gate.mask())
    assert ("gram" in by_label) is not many
    torch.testing.assert_close(outputs(block, by_label, u, v), outputs(block, by_mask, u, v))
    torch.testing.assert_close(block.adjoint(by_label, theta), block.adjoint(by_mask, theta))
    torch.testing.assert_close(block.mean_square(by_label), block.mean_square(by_mask))
    grad = torch.randn(N, 2, D, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(block.inner_adjoint(by_label, grad), block.inner_adjoint(by_mask, grad))
    torch.testing.assert_close(
        block.token_outputs(values, pooling, u, v, gate), block.token_outputs(values, pooling, u, v, gate.mask())
    )


def test_blocks_on_a_grid_refuse_tokens_that_do_not_fill_it():
    with pytest.raises(InputError, match="2 x 3 places but 7 tokens"):
        Fno(TokenShape(7, D, GRID))
    with pytest.raises(InputError, match="take dims=1"):
        Fno(TokenShape(7, D), dims=2)
    with pytest.raises(InputError, match="odd"):
        Hadamard(TokenShape(S, D, GRID), filter_size=4)


@cases
@both
def test_no_atoms_give_nothing(case, gated):
    """A strong penalty leaves a part without atoms; its passes must still run."""
    block = make(case, gated)
    values, pooling = tokens()
    gate = gate_of(block, values, gated)
    stats = block.statistics(values, pooling, gate)
    u, v = atoms(block, 0)
    assert block.inner(stats, u).shape == (N, 0, block.inner_width)
    assert not outputs(block, stats, u, v).any()
    assert block.inner_adjoint(stats, block.inner(stats, u)).shape == (0, *block.u_shape)
    assert not block.token_outputs(values, pooling, u, v, gate).any()


def make_per_token(case: str, gated: bool):
    """A block with a row of outputs for each token; its matrices are whole, as under a gate."""
    kind = BLOCKS.get(case.split(",")[0])
    if gated and not kind.gates:
        pytest.skip(f"{case} takes no gates")
    return kind(TokenShape(S, D, GRID), gated=True, **CASES[case][0])


@cases
@both
def test_outputs_of_each_token_are_the_textbook_formula(case, gated):
    """Token by token: pooling that takes this token alone."""
    block = make_per_token(case, gated)
    values, _ = tokens()
    gate = gate_of(block, values, gated)
    u, v = atoms(block, 2)
    found = outputs(block, block.statistics(values, None, gate), u, v)
    assert found.shape == (N * S, C)
    for i in range(N):
        mask = torch.ones((), dtype=torch.float64).expand(S) if gate is None else gate[i]
        if gate is None and case == "attention":
            mask = torch.ones(S, S, dtype=torch.float64)
        if gate is None and case.startswith(("hadamard", "mlp_mixer")):
            mask = torch.ones(S, D, dtype=torch.float64)
        for t, alone in enumerate(torch.eye(S, dtype=torch.float64)):
            U = u[:, :, None] if case == "linear" else u
            wanted = sum(CASES[case][1](values[i], alone, U[j], v[j], mask) for j in range(2))
            torch.testing.assert_close(found[i * S + t], wanted)


def check_adjoints(block, stats):
    """`inner_adjoint`, `adjoint` and `mean_square` against `inner`, with one row of outputs for each token."""
    generator = torch.Generator().manual_seed(2)
    u, v = atoms(block, 3)
    h = block.inner(stats, u)
    assert h.shape == (N * S, 3, block.inner_width)
    g = torch.randn(h.shape, dtype=h.dtype, generator=generator)
    back = block.inner_adjoint(stats, g)
    assert back.shape == u.shape
    assert float((h * g).sum()) == pytest.approx(float((u * back).sum()))
    theta = torch.randn(N * S, C, dtype=torch.float64, generator=generator)
    matrix = block.adjoint(stats, theta)
    assert matrix.shape == (prod(block.u_shape), block.inner_width * C)
    Z = u.flatten(1).T @ v.flatten(1)
    assert float((matrix * Z).sum()) == pytest.approx(float((theta * outputs(block, stats, u, v)).sum()))
    square = block.mean_square(stats)
    assert square.shape == (N * S,)
    for row in (0, S, N * S - 1):
        one = torch.zeros(N * S, 1, dtype=torch.float64)
        one[row] = 1
        assert float(square[row]) == pytest.approx(float(block.adjoint(stats, one).square().sum()))
    u, v = atoms(block, 0)
    assert block.inner(stats, u).shape == (N * S, 0, block.inner_width)
    assert block.inner_adjoint(stats, block.inner(stats, u)).shape == (0, *block.u_shape)


@cases
@both
def test_adjoints_with_outputs_of_each_token(case, gated):
    block = make_per_token(case, gated)
    values, _ = tokens()
    stats = block.statistics(values, None, gate_of(block, values, gated))
    assert all(len(x) == N for x in stats.values())
    check_adjoints(block, stats)


@pytest.mark.parametrize("many", [False, True], ids=["Gram form", "token form"])
def test_attention_of_each_token_keeps_labels_and_masks_alike(many):
    block = Attention(TokenShape(S, 2, GRID), gated=True)
    values = tokens()[0][..., :2]
    generator = torch.Generator().manual_seed(5)
    labels = S if many else 2
    query, key = (torch.randint(labels, (N, S), generator=generator) for _ in range(2))
    gate = PairGate(query, key, torch.randn(labels, labels, generator=generator, dtype=torch.float64))
    u, v = atoms(block, 2)
    by_label, by_mask = (block.statistics(values, None, own) for own in (gate, gate.mask()))
    assert ("gram" in by_label) is not many
    torch.testing.assert_close(outputs(block, by_label, u, v), outputs(block, by_mask, u, v))
    check_adjoints(block, by_label)
    check_adjoints(block, by_mask)


def test_attention_without_gates_keeps_one_gram_matrix_a_sample():
    stats = Attention(TokenShape(S, D)).statistics(tokens()[0], None)
    assert {name: x.shape for name, x in stats.items()} == {"query": (N, S, D), "gram": (N, D, D)}
