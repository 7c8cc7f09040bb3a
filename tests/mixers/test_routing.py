"""Routing attention: its clusters, how their means move, the paper's causal form, and what it refuses."""

import copy
import math
import runpy
from pathlib import Path

import pytest
import torch
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from headwise import InputError
from headwise.mixers import create

OPTIONS = {"dim": 8, "num_heads": 2, "num_clusters": 3}
SLOW = runpy.run_path(str(Path(__file__).parent / "references" / "routing.py"))


def made(**options):
    torch.manual_seed(0)
    return create("routing", **{**OPTIONS, **options}).double().eval()


def tokens(length: int) -> torch.Tensor:
    return torch.randn(2, length, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_one_cluster_of_all_tokens_is_causal_attention_of_normalised_queries():
    """The exact check of the specification: full attention, its keys the queries, divided by 1.01."""
    for selection in ("top", "members"):
        mixer = made(num_clusters=1, causal_selection=selection)
        x = tokens(9)
        q = mixer.qk(x)[..., :8].unflatten(-1, (2, 4)).transpose(1, 2)
        q = torch.nn.functional.layer_norm(q, (4,), eps=1e-6)
        v = mixer.v(x).unflatten(-1, (2, 4)).transpose(1, 2)
        logits = (q @ q.transpose(-1, -2)).masked_fill(~torch.ones(9, 9, dtype=torch.bool).tril(), -torch.inf)
        wanted = mixer.proj((logits.softmax(-1) @ v / 1.01).transpose(1, 2).flatten(2))
        torch.testing.assert_close(mixer(x, causal=True), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("masked", [False, True])
def test_the_top_of_the_whole_sequence_equals_the_reference_and_looks_ahead(masked):
    mixer, x = made(causal_selection="top", window=3), tokens(8)
    mask = (torch.arange(8) != 2).expand(2, -1) if masked else None
    out = mixer(x, mask=mask, causal=True)
    torch.testing.assert_close(out, SLOW["reference"](mixer, x, mask, True), rtol=0, atol=1e-12)
    changed = x.clone()
    changed[:, 4:] = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(7), dtype=x.dtype)
    assert (mixer(changed, causal=True) - mixer(x, causal=True))[:, :4].abs().max() > 1e-3


def test_labels_are_those_of_planted_clusters():
    mixer = create("routing", dim=4, num_heads=1, num_clusters=2).double().eval()
    with torch.no_grad():
        mixer.qk.weight[:4] = torch.eye(4)
        mixer.means[0] = torch.tensor([[1.0, -1, 1, -1], [1, 1, -1, -1]])
    x = torch.randn(3, 20, 4, dtype=torch.float64) * 0.1
    planted = torch.randint(2, (3, 20))
    x = x + mixer.means[0][planted]
    assert torch.equal(mixer.labels(x)[:, 0], planted)


def expected_means(mixer, x, causal):
    """One step of the moving averages, a token at a time."""
    d, heads = mixer.config.dim // mixer.config.num_heads, mixer.config.num_heads
    decay, clusters = mixer.config.decay, mixer.config.num_clusters
    means = mixer.means.clone()
    for h in range(heads):
        count, total = torch.zeros(clusters), torch.zeros(clusters, d).double()
        for t in x.detach().flatten(0, 1):
            both = mixer.qk(t).detach()
            for part in (both[:8], both[8:])[: 1 if causal else 2]:
                own = SLOW["normalised"](part[h * d : (h + 1) * d])
                c = int((mixer.means[h] @ own).argmax())
                count[c] += 1
                total[c] += own
        if mixer.config.update == "sum":
            both = 2 * total if causal else total  # causal: keys are the queries, and both sums are the same
            means[h] = decay * means[h] + (1 - decay) / 2 * both
            continue
        smoothed = (1 - decay) * count.double() + decay * mixer.counts[h]
        sums = decay * mixer.sums[h] + (1 - decay) * total
        n = smoothed.sum()
        for c in range(clusters):
            means[h, c] = sums[c] / ((smoothed[c] + 1e-5) / (n + clusters * 1e-5) * n)
    return means


@pytest.mark.parametrize("update", ["mean", "sum"])
@pytest.mark.parametrize("causal", [False, True])
def test_means_move_in_training_alone_and_once(update, causal):
    torch.manual_seed(0)
    mixer = create("routing", **OPTIONS, update=update, decay=0.9).double()
    x = torch.randn(2, 10, 8, dtype=torch.float64, requires_grad=True)
    before = copy.deepcopy(mixer.state_dict())
    mixer.eval()(x, causal=causal).sum().backward()
    with torch.no_grad():
        mixer.train()(x, causal=causal)
    for name, value in mixer.state_dict().items():
        assert torch.equal(value, before[name])
    for _ in range(2):
        wanted = expected_means(mixer, x, causal)
        mixer(x, causal=causal).sum().backward()
        torch.testing.assert_close(mixer.means, wanted)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_moves_the_means_once_and_keeps_the_gradient(reentrant):
    torch.manual_seed(0)
    mixer = create("routing", **OPTIONS, decay=0.5).double()
    twin = copy.deepcopy(mixer)
    x = torch.randn(2, 10, 8, dtype=torch.float64, requires_grad=True)
    grad = torch.autograd.grad(mixer(x).square().sum(), x)[0]
    y = x.detach().clone().requires_grad_()
    checkpoint(twin, y, use_reentrant=reentrant).square().sum().backward()
    torch.testing.assert_close(y.grad, grad, rtol=0, atol=1e-13)
    torch.testing.assert_close(twin.means, mixer.means, rtol=0, atol=1e-13)


def test_masked_tokens_do_not_move_means():
    torch.manual_seed(0)
    mixer = create("routing", **OPTIONS, decay=0.5).double()
    twin = copy.deepcopy(mixer)
    x = torch.randn(1, 10, 8, dtype=torch.float64)
    mask = torch.arange(10)[None] < 7
    mixer(x, mask=mask).sum().backward()
    twin(x[:, :7]).sum().backward()
    torch.testing.assert_close(mixer.means, twin.means)


@pytest.mark.parametrize("update", ["mean", "sum"])
@pytest.mark.parametrize("nothing", ["no real token", "a number that is none"])
def test_batches_that_say_nothing_move_no_mean(update, nothing):
    torch.manual_seed(0)
    mixer = create("routing", **OPTIONS, update=update, decay=0.5).double()
    twin = copy.deepcopy(mixer)
    x = torch.randn(2, 10, 8, dtype=torch.float64)
    if nothing == "no real token":
        mixer(x, mask=torch.zeros(2, 10, dtype=torch.bool)).sum().backward()
    else:
        poisoned = x.clone()
        poisoned[0, 3] = torch.nan
        mixer(poisoned).sum().backward()
    for name, value in mixer.named_buffers():
        assert torch.equal(value, twin.get_buffer(name)), name
    for each in (mixer, twin):  # and the next batch finds everything as it was
        each(x).sum().backward()
    torch.testing.assert_close(mixer.means, twin.means, rtol=0, atol=0)
    assert torch.isfinite(mixer.means).all()


def test_training_finds_planted_clusters():
    """Tokens around three directions: after some steps each has a mean of its own."""
    torch.manual_seed(0)
    mixer = create("routing", dim=8, num_heads=1, num_clusters=3, decay=0.9)
    with torch.no_grad():
        mixer.qk.weight.copy_(torch.eye(8).repeat(2, 1))
    directions = torch.nn.functional.layer_norm(torch.randn(3, 8), (8,))
    planted = torch.arange(60).remainder(3)
    for _ in range(60):
        x = directions[planted] + 0.1 * torch.randn(4, 60, 8)
        mixer(x).sum().backward()
    labels = mixer.eval().labels(x)[0, 0]
    assert len({(int(a), int(b)) for a, b in zip(labels, planted, strict=True)}) == 3
    assert mixer.commitment(x) < 0.1


def test_commitment_is_the_distance_to_the_own_mean():
    mixer, x = made(), tokens(6)
    mask = torch.tensor([[True] * 6, [True] * 2 + [False] * 4])
    found = {False: [], True: []}
    for b, sample in enumerate(x):
        for t in range(6):
            both = mixer.qk(sample[t])
            for part in (both[:8], both[8:]):
                parts = [SLOW["normalised"](p) for p in part.split(4)]
                squares = [(p - mixer.means[h, int((mixer.means[h] @ p).argmax())]) ** 2 for h, p in enumerate(parts)]
                found[bool(mask[b, t])].append(torch.cat(squares).mean())
    wanted = torch.stack(found[True])
    torch.testing.assert_close(mixer.commitment(x, mask), 2 * wanted.mean())
    torch.testing.assert_close(mixer.commitment(x), 2 * torch.stack(found[True] + found[False]).mean())


@pytest.mark.slow
def test_training_compiles():
    mixer = create("routing", **OPTIONS, decay=0.5)
    twin = copy.deepcopy(mixer)
    x = torch.randn(2, 10, 8)
    mixer(x).sum().backward()
    torch.compile(twin, backend="eager")(x).sum().backward()
    torch.testing.assert_close(twin.means, mixer.means)


def test_one_token_and_one_cluster():
    mixer = made(num_clusters=1)
    x = tokens(1)
    torch.testing.assert_close(mixer(x), mixer.proj(mixer.v(x) / 1.01))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"num_heads": 3}, "num_heads must divide dim=8"),
        ({"num_clusters": 0}, "num_clusters"),
        ({"window": 0}, "window"),
        ({"decay": 1.0}, "decay"),
        ({"count_eps": -1.0}, "count_eps"),
        ({"update": "means"}, "did you mean mean"),
        ({"causal_selection": "all"}, "causal_selection"),
    ],
)
def test_options_are_checked(options, says):
    with pytest.raises(InputError, match=says):
        create("routing", **{**OPTIONS, **options})


def test_more_clusters_or_a_larger_window_than_tokens():
    x = torch.randn(1, 4, 8)
    with pytest.raises(InputError, match="num_clusters=5 is more than the 4 tokens"):
        create("routing", dim=8, num_clusters=5)(x)
    with pytest.raises(InputError, match="window=6 is more than the 4 tokens"):
        create("routing", dim=8, num_clusters=2, window=6)(x)


def test_cost_of_the_causal_form_grows_as_much():
    found = []
    for n in (4096, 16384):
        with torch.device("meta"):
            mixer = create("routing", dim=4, num_heads=2, num_clusters=math.isqrt(n)).eval()
            x = torch.randn(1, n, 4)
        with FlopCounterMode(display=False) as counter:
            mixer(x, causal=True)
        found.append(counter.get_total_flops())
    assert math.log(found[1] / found[0]) / math.log(4) == pytest.approx(1.5, abs=0.05)
