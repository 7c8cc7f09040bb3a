"""Certificates are sound at any point, and their bounds never too small."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headwise.blocks.attention import Attention
from headwise.blocks.linear import Linear
from headwise.contracts import TokenShape
from headwise.losses.multinomial import Multinomial
from headwise.penalties.nuclear import Nuclear
from headwise.penalties.ridge import Ridge
from headwise.solvers import (
    Certificate,
    Factors,
    HeldPasses,
    Part,
    Problem,
    Status,
    beta_max,
    certify,
    solve,
    solve_path,
    solver_of,
)
from headwise.solvers.bounds import (
    exact_bound,
    failure_probability,
    lanczos_bound,
    lanczos_steps,
    leading_pairs,
    top_pairs,
)

KINDS = ("attention", "linear", "ridge", "linear+attention", "ridge+attention")


def make(kinds: str, seed: int = 0, n: int = 20, s: int = 4, d: int = 3, c: int = 3) -> Problem:
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(n, s, d, generator=generator, dtype=torch.float64)
    y = torch.arange(n) % c
    X[:, 0] += 0.5 * y[:, None]
    pooling = torch.full((n, s), 1 / s, dtype=torch.float64)
    parts, stats = [], []
    for kind in kinds.split("+"):
        shape = TokenShape(s, d)
        block = Attention(shape) if kind == "attention" else Linear(shape)
        parts.append(Part(block, Ridge() if kind == "ridge" else Nuclear()))
        stats.append(block.statistics(X, pooling))
    return Problem(parts, HeldPasses(stats), Multinomial(y, c))


def random_factors(problem: Problem, seed: int, scale: float, atoms: int = 3) -> Factors:
    generator = torch.Generator().manual_seed(seed)
    factors = problem.zero()
    for i, part in enumerate(problem.parts):
        if part.factored:
            factors.u[i] = scale * torch.randn(atoms, *part.u_shape, generator=generator, dtype=torch.float64)
        shape = (len(factors.u[i]), part.k, problem.loss.num_outputs)
        factors.v[i] = scale * torch.randn(shape, generator=generator, dtype=torch.float64)
    factors.intercept = torch.randn(problem.loss.num_outputs, generator=generator, dtype=torch.float64)
    return factors


def by_proximal_gradient(problem: Problem, beta: float, steps: int = 3000) -> float:
    """The optimum by FISTA on the dense matrices with singular value thresholding, for one nuclear part."""
    (part,) = problem.parts
    (_, (stats,)) = next(iter(problem.passes.chunks(torch.float64)))
    n, c = problem.loss.num_samples, problem.loss.num_outputs
    columns = []
    for i in range(n):
        one = {k: v[i : i + 1] for k, v in stats.items()}
        columns.append(part.block.adjoint(one, torch.ones(1, 1, dtype=torch.float64)))
    features = torch.stack(columns)  # (n, p, k)
    flat = torch.cat([features.flatten(1), torch.ones(n, 1, dtype=torch.float64)], dim=1)
    size = float(torch.linalg.eigvalsh(flat @ flat.T / n)[-1]) / 2  # the softmax Hessian is at most one half
    Z, b = torch.zeros(part.p, part.k * c, dtype=torch.float64), problem.loss.best_constant()
    W, a, t, before = Z, b, 1.0, float("inf")
    value = before
    for _ in range(steps):
        out = torch.einsum("npk,pkc->nc", features, W.view(part.p, part.k, c)) + a
        theta = problem.loss.gradient(out)
        grad = torch.einsum("npk,nc->pkc", features, theta).flatten(1)
        left, sigma, right = torch.linalg.svd(W - grad / size, full_matrices=False)
        new = left @ torch.diag((sigma - beta / size).clamp(min=0)) @ right
        new_b = a - theta.sum(0) / size
        u = (1 + (1 + 4 * t * t) ** 0.5) / 2
        if float(((W - new) * (new - Z)).sum() + ((a - new_b) * (new_b - b)).sum()) > 0:
            u = 1.0
        W, a = new + (t - 1) / u * (new - Z), new_b + (t - 1) / u * (new_b - b)
        Z, b, t = new, new_b, u
        out = torch.einsum("npk,pkc->nc", features, Z.view(part.p, part.k, c)) + b
        value = float(problem.loss.value(out) + beta * torch.linalg.matrix_norm(Z, "nuc"))
        if abs(before - value) < 1e-15:
            break
        before = value
    return value


BETAS = (0.005, 0.05, 0.3)


@functools.cache
def optimum(kinds: str, beta: float) -> Certificate:
    """A tight certificate; the optimum lies between its dual and its primal value."""
    return solve(make(kinds), beta, tol=2e-7, max_rounds=40).certificate


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("kinds", KINDS)
def test_small_problems_are_solved_far_below_the_default_tolerance(kinds, beta):
    assert optimum(kinds, beta).relative_gap < 1e-6


@pytest.mark.parametrize("kinds", ["attention", "linear"])
def test_an_independent_method_finds_the_same_optimum(kinds):
    assert by_proximal_gradient(make(kinds), 0.05) == pytest.approx(optimum(kinds, 0.05).primal, rel=1e-6)


@settings(max_examples=60)
@given(
    kinds=st.sampled_from(KINDS),
    seed=st.integers(0, 10_000),
    scale=st.floats(1e-3, 3),
    beta=st.sampled_from(BETAS),
    kind=st.sampled_from(["exact", "probabilistic"]),
    centre=st.booleans(),
)
def test_dual_is_below_and_primal_above_the_optimum(kinds, seed, scale, beta, kind, centre):
    problem = make(kinds)
    found, _ = certify(problem, random_factors(problem, seed, scale), beta, kind=kind, seed=seed, centre=centre)
    best = optimum(kinds, beta)
    assert found.dual <= best.primal * (1 + 1e-12)
    assert found.primal >= best.dual * (1 - 1e-12)
    assert found.gap >= 0


@pytest.mark.parametrize("kinds", ["attention", "linear+attention"])
@pytest.mark.parametrize("shift", [-0.3, -0.01, 0.01, 0.3])
def test_dual_is_below_the_optimum_beside_it_where_the_intercept_is_off(kinds, shift):
    """To first order the dual value of the plain gradient rises above the optimum on one side of the best intercept."""
    problem = make(kinds)
    factors = solve(problem, 0.05, tol=2e-7, max_rounds=40).factors
    for output in range(3):
        moved = factors.clone()
        moved.intercept[output] += shift
        found, _ = certify(problem, moved, 0.05, centre=False)
        assert found.dual <= optimum(kinds, 0.05).primal * (1 + 1e-12)


@settings(max_examples=60)
@given(seed=st.integers(0, 100_000), p=st.integers(1, 30), q=st.integers(1, 30), scale=st.floats(1e-6, 1e6))
def test_exact_bound_is_an_upper_bound_and_tight(seed, p, q, scale):
    matrix = torch.from_numpy(scale * np.random.default_rng(seed).normal(size=(p, q)))
    true = float(np.linalg.norm(matrix.numpy(), 2))
    assert true <= exact_bound(matrix) <= true * (1 + 1e-9)


def test_exact_bound_of_several_matrices_is_that_of_the_largest():
    several = torch.randn(5, 7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert exact_bound(several) == pytest.approx(max(exact_bound(matrix) for matrix in several), rel=1e-14)
    assert exact_bound(several[:0]) == 0.0


@pytest.mark.parametrize(("p", "q"), [(40, 25), (3, 70), (6, 1), (90, 80)])
def test_leading_pairs_of_several_matrices(p, q):
    several = torch.randn(4, p, q, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    several *= torch.linspace(1, 0.8, q) ** 8  # a spectrum that falls, as the sweeps of large ones need
    several[3] = 0.0
    pairs = leading_pairs(list(several), 3, [torch.zeros(q, 0) for _ in several])
    for matrix, (u, sigma, v) in zip(several, pairs, strict=True):
        torch.testing.assert_close(sigma, torch.linalg.svdvals(matrix)[:3], rtol=1e-2, atol=1e-12)
        torch.testing.assert_close(matrix @ v, u * sigma, rtol=0, atol=0.1 * float(matrix.norm()) + 1e-12)
        if min(p, q) <= 64:  # by whole decompositions
            torch.testing.assert_close(sigma, torch.linalg.svdvals(matrix)[:3], rtol=1e-10, atol=1e-12)
            torch.testing.assert_close(matrix @ v, u * sigma, rtol=0, atol=1e-10)


def test_top_pairs_finds_leading_singular_triples():
    matrix = torch.randn(40, 25, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    u, sigma, v = top_pairs(matrix, 3, sweeps=60)
    wanted = torch.linalg.svdvals(matrix)[:3]
    torch.testing.assert_close(sigma, wanted, rtol=1e-6, atol=0)
    torch.testing.assert_close(matrix @ v, u * sigma, rtol=1e-3, atol=1e-3)


def test_lanczos_bounds_hold_and_are_close():
    problem = make("attention", d=4, n=30)
    outputs = problem.outputs(random_factors(problem, 0, 0.3))
    theta = problem.loss.gradient(outputs)
    true = float(torch.linalg.matrix_norm(problem.adjoint(theta)[0], 2))
    for seed in range(100):
        bound, missed = lanczos_bound(
            problem, 0, theta, epsilon=0.01, probability=1e-6, columns=1, generator=torch.Generator().manual_seed(seed)
        )
        assert true <= bound * (1 + 1e-12)
        assert bound <= true / (1 - 0.01) ** 0.5 * (1 + 1e-9)
        assert missed <= 1e-6


@pytest.mark.parametrize("columns", [1, 4])
def test_lanczos_bounds_hold_where_it_stops_long_before_it_has_converged(columns):
    """200 random matrices with a crowded top of the spectrum: what is found is too small, the bound made of it not."""
    size, epsilon = 64, 0.3
    stats = {"features": torch.eye(size, dtype=torch.float64)}  # so that A*(theta) = theta
    problem = Problem(
        [Part(Linear(TokenShape(1, size)), Nuclear())], HeldPasses([stats]), Multinomial(torch.arange(size), size)
    )
    found = []
    for seed in range(200):
        generator = torch.Generator().manual_seed(seed)
        left, right = (
            torch.linalg.qr(torch.randn(size, size, dtype=torch.float64, generator=generator))[0] for _ in range(2)
        )
        theta = left @ torch.diag(torch.linspace(0, 1, size, dtype=torch.float64).sqrt()) @ right
        bound, missed = lanczos_bound(
            problem, 0, theta, epsilon=epsilon, probability=0.05, columns=columns, generator=generator
        )
        assert 0 < missed <= 0.05
        assert bound >= 1
        found.append(bound * (1 - epsilon) ** 0.5)
    assert max(found) <= 1 + 1e-12
    assert np.median(found) < 0.995, "something must be missing, or the test shows nothing"


@pytest.mark.parametrize("kinds", KINDS)
def test_both_kinds_of_certificate_agree_within_epsilon(kinds):
    problem, epsilon = make(kinds, n=30, d=5), 0.05
    factors = random_factors(problem, 0, 0.2)
    exact, _ = certify(problem, factors, 0.02, kind="exact")
    loose, _ = certify(problem, factors, 0.02, kind="probabilistic", epsilon=epsilon, probability=1e-3, seed=0)
    assert loose.kind == ("exact" if kinds == "ridge" else "probabilistic")
    assert loose.primal == exact.primal
    # the dual value is concave in the scale and zero at zero
    assert exact.dual * (1 - epsilon) ** 0.5 * (1 - 1e-12) <= loose.dual <= exact.dual * (1 + 1e-9)


@pytest.mark.parametrize(("epsilon", "columns", "steps"), [(4e-3, 1, 194), (4e-3, 8, 51), (2e-4, 8, 225)])
def test_lanczos_steps_of_the_design(epsilon, columns, steps):
    found = lanczos_steps(650, columns, epsilon, 1e-9)
    assert found == pytest.approx(steps, abs=1)
    assert (
        failure_probability(650, found, columns, epsilon)
        <= 1e-9
        < failure_probability(650, found - 1, columns, epsilon)
    )


@pytest.mark.parametrize("kinds", KINDS)
def test_beta_max_is_where_atoms_begin(kinds):
    problem = make(kinds)
    if kinds == "ridge":
        assert beta_max(problem) > 0
        return
    top = beta_max(problem)
    if "ridge" not in kinds:  # a ridge part is never zero, so it moves the others' threshold
        assert solve(problem, 1.001 * top, tol=1e-8).rank == 0
        assert solve(problem, 0.98 * top, tol=1e-8).rank > 0


def test_objective_falls_along_the_path_and_warm_starts_change_nothing():
    problem = make("linear+attention")
    betas = np.geomspace(0.2, 0.005, 5)
    warm = list(solve_path(solver_of(problem), betas, tol=1e-5))
    values = [s.certificate.primal for s in warm]
    assert values == sorted(values, reverse=True)
    for beta, solution in zip(betas, warm, strict=True):
        assert solution.status is Status.CERTIFIED
        cold = solve(problem, float(beta), tol=1e-5).certificate.primal
        assert solution.certificate.primal == pytest.approx(cold, rel=3e-5)


def test_interruption_keeps_what_was_found():
    problem = make("attention")

    def stop(step: str, done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    solution = solve(problem, 0.01, tol=1e-12, progress=stop)
    assert solution.status is Status.INTERRUPTED
    assert solution.certificate.dual <= solution.certificate.primal


def test_the_network_never_beats_the_certified_optimum_and_reaches_it():
    """Claim 1 of the convex equivalence: weight decay on m atoms, from many starts (n=12, s=4, d=3, c=2)."""
    problem, beta = make("attention", n=12, s=4, d=3, c=2), 0.01
    certificate = solve(problem, beta, tol=1e-8, max_rounds=80).certificate
    (_, (stats,)) = next(iter(problem.passes.chunks(torch.float64)))
    block = problem.parts[0].block

    def train(atoms: int, seed: int) -> float:
        generator = torch.Generator().manual_seed(seed)
        u = (0.3 * torch.randn(atoms, 3, 3, generator=generator, dtype=torch.float64)).requires_grad_()
        v = (0.3 * torch.randn(atoms, 3, 2, generator=generator, dtype=torch.float64)).requires_grad_()
        b = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.LBFGS(
            [u, v, b], max_iter=600, tolerance_grad=1e-10, tolerance_change=1e-14, line_search_fn="strong_wolfe"
        )

        def objective() -> torch.Tensor:
            optimiser.zero_grad()
            out = block.inner(stats, u).flatten(1) @ v.flatten(0, 1) + b
            value = problem.loss.value(out) + beta / 2 * (u.square().sum() + v.square().sum())
            value.backward()
            return value

        optimiser.step(objective)
        return float(objective().detach())

    values = {m: [train(m, seed) for seed in range(4)] for m in (1, 2, 6)}
    assert min(min(v) for v in values.values()) >= certificate.dual * (1 - 1e-9)
    assert min(values[6]) == pytest.approx(certificate.primal, rel=1e-5)
    assert min(values[1]) >= min(values[2]) - 1e-9 >= min(values[6]) - 2e-9
    assert min(values[1]) > certificate.primal * (1 + 1e-4), "one atom must not be enough, or the test shows nothing"
