"""The glossary, and links to it from the text."""

from __future__ import annotations

import re
from collections.abc import Iterable

from markupsafe import Markup, escape

__all__ = ["EXPLORER_WORDS", "WORDS", "Linker"]

# id: (word, meaning, other spellings that link to it)
WORDS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "accuracy": ("accuracy", "The share of samples whose most probable class is the right one.", ()),
    "atom": (
        "atom",
        "One pair of an inner and an outer weight of a head: a pattern that it looks for in the tokens, and what it "
        "says to each output when it is there. Its weight is the product of their lengths.",
        ("atoms",),
    ),
    "attention-head": (
        "attention head",
        "One of the parallel attention units inside a layer of the backbone. Not to be mixed up with a head, "
        "which is fitted here.",
        ("attention heads",),
    ),
    "backbone": (
        "backbone",
        "The pretrained network that turns an input into tokens. It is frozen: nothing in it is changed.",
        (),
    ),
    "balanced-accuracy": (
        "balanced accuracy",
        "The mean over classes of the share recognised. Every class counts the same, however rare; guessing "
        "gives 1 / number of classes.",
        (),
    ),
    "beta": (
        "beta",
        "The strength of the penalty. A large beta gives a small, simple head; a small beta lets the head follow "
        "the training data closely.",
        (),
    ),
    "calibration-error": (
        "calibration error",
        "The mean distance between how sure the head says it is and how often it is right, over 15 bins of equal "
        "width.",
        (),
    ),
    "certificate": (
        "certificate",
        "A proved lower bound of the training objective (from convex duality), kept next to the value that was "
        "reached. Their difference "
        "is the gap: how much better any other head of the same kind could possibly be on the same training "
        "tokens.",
        ("certified", "certificates"),
    ),
    "chance-band": (
        "chance band",
        "The range in which a weighted cosine would lie if query and key weights had nothing to do with each "
        "other. Values inside it "
        "say nothing about the attention head.",
        (),
    ),
    "confidence": ("confidence", "The probability that the head gives to the class that it predicts.", ()),
    "gate": (
        "gate",
        "A fixed mask over tokens, or over pairs of tokens, inside a head. It depends on the tokens and on nothing "
        "that is fitted, and has atoms of its own.",
        ("gates",),
    ),
    "head": (
        "head",
        "The small model that is fitted on the tokens of the frozen backbone to predict the class.",
        ("heads",),
    ),
    "log-loss": (
        "log-loss",
        "The mean of −log(probability given to the right class). Lower is better; it punishes confident "
        "mistakes. Unit: nats.",
        (),
    ),
    "mode": (
        "mode",
        "One singular triple of an attention head's query–key matrix: a feature that queries look with, a "
        "feature of the keys that answers, and a strength (sigma).",
        ("modes",),
    ),
    "nuclear-norm": (
        "nuclear norm",
        "The sum of the weights of all atoms: the price that the penalty puts on a head.",
        (),
    ),
    "paired-bootstrap": (
        "paired bootstrap",
        "The test samples are drawn again and again with replacement, and both heads are scored on the same "
        "draw. The spread of the "
        "differences gives the interval.",
        (),
    ),
    "penalty": ("penalty", "A price on the size of the weights, added to the loss, that keeps the head simple.", ()),
    "rank": (
        "rank",
        "The number of atoms (pairs of an inner and an outer weight) in the fitted head: how many separate "
        "patterns it uses.",
        ("effective rank",),
    ),
    "relative-gap": (
        "relative gap",
        "The gap of the certificate divided by the objective reached. 0.1 % means: no head of the same kind has "
        "a training objective more "
        "than 0.1 % lower.",
        ("certified gap",),
    ),
    "token": (
        "token",
        "One vector of the backbone's output. Patch tokens belong to a square of the image, text tokens to a word or a "
        "part of one; prefix tokens (class token, registers) to the whole.",
        ("tokens", "patch tokens", "prefix tokens", "text tokens", "patch token", "prefix token", "text token"),
    ),
    "weighted-cosine": (
        "weighted cosine",
        "The mean cosine between the query and the key feature of an attention head's modes, weighted by their "
        "strength. Near 1: tokens look for "
        "tokens like themselves (grouping). Near 0: they look for something else (context). Below 0: they avoid "
        "their like.",
        ("weighted cosines",),
    ),
}

EXPLORER_WORDS: dict[str, tuple[str, str]] = {
    "attention-head": (
        "attention head",
        "One of the parallel attention units of a layer. It compares each token, as a query, with the tokens that it "
        "may see, as keys, and takes from those with the largest logits.",
    ),
    "mode": (
        "mode",
        "One singular triple of an attention head's query–key matrix: a direction that queries ask with (the query "
        "side), a direction of the keys that answers (the key side), and a strength, sigma.",
    ),
    "sigma": ("sigma", "The strength of a mode: its singular value, without the scale of the logits."),
    "cosine": (
        "cosine",
        "Between the query and the key direction of a mode. Near 1: tokens ask for tokens like themselves; near 0: for "
        "something else; below 0: for their opposite.",
    ),
    "weighted-cosine": (
        "weighted cosine",
        "The mean cosine of an attention head's modes, weighted by sigma: tr(M) over the sum of all sigma.",
    ),
    "chance-band": (
        "chance band",
        "Where 99 % of such cosines of unrelated directions lie. Of an attention head it comes from permutations of "
        "the features of its keys, and from a closed form (random rotations); of a mode from the width alone. Inside "
        "it a cosine says nothing.",
    ),
    "effective-rank": (
        "effective rank",
        "How many modes share the work of an attention head: the exponential of the entropy of its sigma.",
    ),
    "symmetric-share": (
        "symmetric share",
        "The share of the query–key matrix that stays when queries and keys change places; 50 % for unrelated "
        "directions.",
    ),
    "logit-shares": (
        "logits from …",
        "Shares of the variance of an attention head's logits on the inputs of the check: from what tokens hold "
        "together (content), from a preference for some keys that is the same for all queries (keys alone), from "
        "biases by place (position), and from what rotary embeddings add to the mean (rotation). They sum to 1.",
    ),
    "prefix-token": (
        "prefix token",
        "A token in front of all others that belongs to no part of the input: class token, register.",
    ),
    "sink": (
        "sink",
        "A token that gets at least 30 % of the attention of those that see it, in the mean.",
    ),
    "high-norm": (
        "high-norm token",
        "A token with more than three times the median norm of its sample. Such tokens are left out of the evidence.",
    ),
    "subspace": (
        "subspace",
        "Modes whose sigma are closer than 5 %. Each of them alone is arbitrary; what they span together is not, and "
        "neither is their mean cosine.",
    ),
    "sign": (
        "+ and −",
        "The sign of a mode is free: it raises the logit where both sides are positive, and as much where both are "
        "negative. The two show different things, so each has its examples.",
    ),
}
"""Words of the page on which a dissection is explored; some mean more there than in the report of a study."""

_SPELLINGS = {spelling: key for key, (word, _, others) in WORDS.items() for spelling in (word, *others)}
_PATTERN = re.compile(
    r"(?<![\w&#;-])(" + "|".join(re.escape(s) for s in sorted(_SPELLINGS, key=len, reverse=True)) + r")(?![\w;-])",
    re.IGNORECASE,
)


class Linker:
    """Escapes a text and links the first use of each technical word in a section to its entry.

    Parameters
    ----------
    unlinked : iterable of str
        Entries that are left alone, where a word has another sense.

    Examples
    --------
    >>> str(Linker()("rank & rank"))
    '<a class="word" href="#word-rank">rank</a> &amp; rank'
    """

    def __init__(self, unlinked: Iterable[str] = ()) -> None:
        self.seen: set[str] = set(unlinked)

    def __call__(self, text: object) -> Markup:
        if isinstance(text, Markup):
            return text
        # Escaped text holds no tags, so a link can be put anywhere in it.
        return Markup(_PATTERN.sub(self._link, str(escape(text))))

    def _link(self, match: re.Match[str]) -> str:
        key = _SPELLINGS[match[1].lower()]
        if key in self.seen:
            return match[1]
        self.seen.add(key)
        return f'<a class="word" href="#word-{key}">{match[1]}</a>'
