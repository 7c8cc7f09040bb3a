"""What a head is made of: atoms, shares of tokens that sum to the outputs, clusters that were planted."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from headwise.blocks import BLOCKS
from headwise.errors import InputError
from headwise.gates import GATES
from headwise.heads import Conditioner, Head, HeadClassifier, PartSpec
from headwise.heads.facts import TokenFacts
from headwise.heads.fitted_part import FittedPart
from headwise.solvers import Factors
from headwise.tokens import ArrayTokens

N, PREFIX, GRID, D, C = 12, 2, (2, 3), 4, 5
GATED = [
    (block, gate)
    for block, gate in product(BLOCKS.names(), ("none", *GATES.names()))
    if gate == "none" or (gate != "mixer" and set(GATES.get(gate)().kinds) & set(BLOCKS.get(block).gates))
]
ON_GRID = ("fno", "bfno")
CASES = [
    (block, gate, tokens, pooling)
    for (block, gate), (tokens, pooling) in product(
        GATED, [("patch", "mean"), ("prefix", "mean"), ("all", "mean"), ("all", "class")]
    )
    if tokens == "patch" or (gate != "window" and block not in ON_GRID)  # these need a place on the grid
]


def random_head(*specs: PartSpec, seed: int = 0, atoms: int = 3) -> tuple[Head, torch.Tensor]:
    """A head of random atoms, more than Z has room for in small blocks, and tokens for it."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, PREFIX + GRID[0] * GRID[1], D))
    source = ArrayTokens(X, None, PREFIX, GRID)
    parts, us, vs = [], [], []
    for spec in specs:
        part = FittedPart.fit(spec, source, np.arange(N), Conditioner(n_components=3), C)
        parts.append(part)
        for z in part.parts():
            count = z.p if spec.penalty == "ridge" else atoms
            us.append(torch.from_numpy(rng.normal(size=(count, *z.u_shape))))
            vs.append(torch.from_numpy(rng.normal(size=(count, z.k, z.outputs(C)))))
    factors = Factors(us, vs, torch.from_numpy(rng.normal(size=C)))
    return Head(parts, factors, list("abcde"), TokenFacts.of(source)), torch.from_numpy(X)


def check_sums(head: Head, X: torch.Tensor, mask: torch.Tensor | None = None) -> None:
    with torch.inference_mode():
        outputs = head(X, mask)
    tokens, atoms = head.token_outputs(X, mask), head.atom_outputs(X, mask)
    assert tokens.shape == (N, X.shape[1], C) and atoms.shape == (N, len(head.atoms()), C)
    size = max(1.0, float(tokens.abs().sum(1).max()), float(atoms.abs().sum(1).max()))
    torch.testing.assert_close(tokens.sum(1) + head.intercept, outputs, rtol=0, atol=1e-12 * size)
    torch.testing.assert_close(atoms.sum(1) + head.intercept, outputs, rtol=0, atol=1e-12 * size)


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_tokens_and_atoms_sum_to_the_outputs(case):
    block, gate, tokens, pooling = case
    spec = PartSpec(block, tokens, gate=gate, num_gates=1 if gate == "window" else 2, pooling=pooling)
    check_sums(*random_head(spec))
    if BLOCKS.get(block).__name__ == "Hadamard" and tokens == "patch":
        check_sums(*random_head(PartSpec(block, tokens, gate=gate, num_gates=2, options={"filter_size": 3})))


def test_sums_of_blocks_and_hidden_tokens():
    head, X = random_head(
        PartSpec("linear", "prefix", "ridge"),
        PartSpec("attention", "patch", gate="rank_one", num_gates=3),
        PartSpec("mlp", "all", gate="cluster", num_gates=2),
    )
    check_sums(head, X)
    mask = torch.ones(X.shape[:2], dtype=torch.bool)
    mask[::2, -2:] = False
    check_sums(head, X, mask)
    assert not head.token_outputs(X, mask)[::2, -2:].any()
    for gate in head.clusters(X, mask):
        assert (gate.query[::2, -2:] == -1).all() and (gate.key[1::2, PREFIX:] >= 0).all()


def test_atoms_are_the_singular_triples_of_each_matrix():
    head, _ = random_head(
        PartSpec("linear", "prefix", "ridge"),
        PartSpec("attention", "patch", gate="rank_one", num_gates=2),
        PartSpec("bfno", "patch", gate="gaussian", num_gates=2, options={"groups": 2}),
    )
    atoms = head.atoms()
    weights = [atom.weight for atom in atoms]
    assert weights == sorted(weights, reverse=True)
    assert sum(atom.share for atom in atoms if atom.part) == pytest.approx(1)
    assert all(atom.share is None for atom in atoms if not atom.part)
    for number, part in enumerate(head.parts):
        for matrix, (u, v) in enumerate(zip(part.u, part.v, strict=True)):
            wanted = torch.linalg.svdvals(u.detach().flatten(1).T @ v.detach().flatten(1))
            found = [atom for atom in atoms if (atom.part, atom.matrix) == (number, matrix)]
            np.testing.assert_allclose([atom.weight for atom in found], wanted[wanted > 1e-6 * wanted[0]], rtol=1e-9)
            where = {(atom.group, atom.gate) for atom in found}
            assert where == {(None, None), (None, matrix), (matrix // 2, matrix % 2)} & where and len(where) == 1
    for atom in atoms:
        assert np.linalg.norm(atom.loadings) == pytest.approx(atom.weight)
        assert float(atom.u.norm() * atom.v.norm()) == pytest.approx(atom.weight)
        assert atom.signed == (atom.part != 1)
        assert atom.group != 0 or not atom.loadings[3:].any()  # five outputs in two groups: three and two


def test_signs_of_loadings_are_those_of_the_classes():
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    X = rng.normal(size=(90, 4, 3))
    X[y == 1, :, 0] += 2
    atom = HeadClassifier("linear", beta=0.05).fit(X, y).head_.atoms()[0]
    assert np.sign(atom.loadings[1]) == -np.sign(atom.loadings[0]) == -np.sign(atom.loadings[2])


def test_the_table_reads_well_everywhere():
    head, _ = random_head(PartSpec("mlp", "patch", gate="gaussian", num_gates=2))
    head.class_names = ["<b>&", "b", "c", "d", "e"]
    atoms = head.atoms()
    lines = str(atoms).splitlines()
    assert len(lines) == len(atoms) + 1 and lines[0].split()[:2] == ["atom", "weight"]
    assert "mlp with 2 gaussian gates" in lines[1] and "%" in lines[1]
    assert "<b>" not in atoms._repr_html_() and atoms._repr_html_().count("<tr>") == len(lines)
    assert len(json.loads(json.dumps(atoms.to_dict()))) == len(atoms)
    name, loading = atoms.strongest(0, 1)[0]
    place = head.output_names.index(name)
    assert loading == atoms[0].loadings[place] and abs(loading) == np.abs(atoms[0].loadings).max()
    empty, X = random_head(PartSpec("attention"), atoms=0)
    assert str(empty.atoms()) == "no atoms: the head is its intercept"
    assert empty.atom_outputs(X).shape == (N, 0, C) and empty.clusters(X) == []


def test_names_of_outputs():
    X, y = np.random.default_rng(0).normal(size=(40, 3, 2)), np.array(["no", "yes"] * 20)
    assert HeadClassifier("linear", beta=0.1).fit(X, y).head_.output_names == ["no", "yes"]
    assert HeadClassifier("linear", beta=0.1, loss="binary").fit(X, y).head_.output_names == ["yes"]


def test_tokens_that_do_not_fit_are_refused():
    head, X = random_head(PartSpec("attention"))
    for wrong in (X[:, :3], X[..., :2]):
        for method in (head.token_outputs, head.atom_outputs, head.clusters):
            with pytest.raises(InputError, match="fitted on"):
                method(wrong)


def planted(kinds: int, n: int = 120, s: int = 8, seed: int = 0):
    """Tokens of ``kinds`` clusters far apart; the class is told by tokens of the first kind alone."""
    rng = np.random.default_rng(seed)
    kind, y = rng.integers(kinds, size=(n, s)), np.arange(n) % 2
    centres = 6 * (np.eye(4) - 0.25)[:kinds] if kinds > 2 else 6 * np.array([np.ones(4), -np.ones(4)])
    X = centres[kind] + 0.5 * rng.normal(size=(n, s, 4))
    X[..., 3] += np.where(kind == 0, 2 * y[:, None] - 1, 0)
    return X / 10, y, kind


@pytest.mark.parametrize(
    ("block", "gate", "kinds", "count"),
    [("attention", "cluster", 3, 3), ("attention", "rank_one", 2, 4), ("mlp", "cluster", 3, 3)],
)
def test_planted_clusters_are_found(block, gate, kinds, count):
    X, y, _ = planted(kinds)
    model = HeadClassifier(block, beta=0.01, gate=gate, num_gates=count, condition=gate == "cluster").fit(X, y)
    new, _, truth = planted(kinds, seed=1)
    found = model.head_.clusters(torch.from_numpy(new))
    assert found and [g.weight for g in found] == sorted((g.weight for g in found), reverse=True)
    if block == "mlp":  # one gate a cluster: open or closed
        labels = [np.argmax([g.key for g in found] + [np.full(truth.shape, 0.5)], axis=0)]
        assert len(found) >= kinds - 1
    else:
        labels = [found[0].query, found[0].key]
        assert found[0].table.shape == (kinds, kinds)
    for each in labels:
        assert adjusted_rand_score(truth.ravel(), each.ravel()) > 0.95
        assert abs(adjusted_rand_score(np.random.default_rng(2).permutation(truth.ravel()), each.ravel())) < 0.05


def test_clusters_of_a_head_with_prefix_tokens():
    head, X = random_head(
        PartSpec("mlp", "prefix", gate="gaussian", num_gates=4), PartSpec("attention", gate="window", num_gates=1)
    )
    window, *others = sorted(head.clusters(X), key=lambda gate: -gate.part)
    assert (window.query[:, :PREFIX] == -1).all() and (window.key[0, PREFIX:] == np.arange(6)).all()
    assert others and all((g.key[:, PREFIX:] == -1).all() and (g.key[:, 0] == g.key[:, 1]).all() for g in others)
    assert window.table.shape == (6, 6) and others[0].table is None
    dense, X = random_head(PartSpec("attention", gate="gaussian", num_gates=2))
    assert dense.clusters(X) == []  # a mask of its own for every pair of tokens
