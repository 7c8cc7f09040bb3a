"""The atoms of a fitted head, in order of weight, and what each adds to the outputs of a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..contracts import Tokens
from .head import Head

__all__ = ["Atom", "Atoms", "atom_outputs", "atoms"]

NAMED = 3  # outputs that a table names for each atom


@dataclass(frozen=True)
class Atom:
    """One atom (u, v) of a head: a singular triple of one of its matrices Z, or one of the atoms of a ReLU part.

    Attributes
    ----------
    weight : float
        ``||u|| ||v||`` (a singular value of Z), in the coordinates in which the penalty is stated.
    share : float or None
        Share of the nuclear norm of the head; None in a ridge part, which pays for squares.
    part : int
        Index of the part in ``head.specs``.
    block : str
        The part in words.
    gate, group : int or None
        Index of the gate (of the channel group) that the atom stands under; None where there is none.
    matrix : int
        Index of its Z in the part: channel groups first, then gates.
    loadings : ndarray, shape (outputs,)
        How strongly each output reads the atom. Their squares sum to the square of ``weight``. They have a sign where
        the atom has one inner feature (linear, mlp, fno); with several (attention, mlp_mixer, hadamard) they are
        lengths, because the direction changes from sample to sample.
    u, v : Tensor
        ``u_shape`` and ``(inner features, outputs of its channel group)``, of the same norm.
    """

    weight: float
    share: float | None
    part: int
    block: str
    gate: int | None
    group: int | None
    matrix: int
    loadings: NDArray[Any] = field(repr=False)
    u: Tensor = field(repr=False)
    v: Tensor = field(repr=False)

    @property
    def signed(self) -> bool:
        """Whether the loadings have a sign."""
        return self.v.shape[0] == 1


class Atoms(Sequence[Atom]):
    """Atoms from the heaviest to the lightest; prints as a table, also in notebooks.

    Attributes
    ----------
    outputs : list of str
        Names of the outputs that the loadings stand for.
    """

    COLUMNS = ("atom", "weight", "of nuclear norm", "part", "gate", "strongest outputs")

    def __init__(self, found: Sequence[Atom], outputs: Sequence[str]) -> None:
        self.outputs, self._atoms = list(outputs), tuple(found)

    def __len__(self) -> int:
        return len(self._atoms)

    def __getitem__(self, index: Any) -> Any:
        return self._atoms[index]

    def strongest(self, index: int, count: int = NAMED) -> list[tuple[str, float]]:
        """Names and loadings of the outputs that read atom ``index`` most."""
        loadings = self._atoms[index].loadings
        order = np.argsort(-np.abs(loadings), kind="stable")[:count]
        return [(self.outputs[k], float(loadings[k])) for k in order if loadings[k]]

    def to_dict(self) -> list[dict[str, Any]]:
        """One dict for each atom, as JSON, without u and v."""
        return [
            {
                "weight": atom.weight,
                "share": atom.share,
                "part": atom.part,
                "block": atom.block,
                "gate": atom.gate,
                "group": atom.group,
                "signed": atom.signed,
                "loadings": atom.loadings.tolist(),
            }
            for atom in self._atoms
        ]

    def _rows(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = []
        for number, atom in enumerate(self._atoms):
            sign = "+" if atom.signed else ""
            named = ", ".join(f"{name} ({value:{sign}.3g})" for name, value in self.strongest(number))
            share = "-" if atom.share is None else f"{100 * atom.share:.1f} %"
            gate = "-" if atom.gate is None else str(atom.gate)
            if atom.group is not None:
                gate = f"group {atom.group}" + ("" if atom.gate is None else f", {gate}")
            rows.append((str(number + 1), f"{atom.weight:.3g}", share, atom.block, gate, named))
        return rows

    def __str__(self) -> str:
        if not self._atoms:
            return "no atoms: the head is its intercept"
        table = [self.COLUMNS, *self._rows()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        right = (True, True, True, False, False, False)
        lines = (
            "  ".join(cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True))
            for row in table
        )
        return "\n".join(line.rstrip() for line in lines)

    def __repr__(self) -> str:
        return f"<{len(self)} atoms>\n{self}"

    def _repr_html_(self) -> str:
        def row(cells: Sequence[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        return f"<table>{row(self.COLUMNS, 'th')}{''.join(row(cells, 'td') for cells in self._rows())}</table>"


def atoms(head: Head) -> Atoms:
    """Atoms of all parts, from the heaviest to the lightest.

    Every matrix Z is taken apart by its singular value decomposition, so the atoms do not depend on how Z was found
    (up to the sign of both u and v), and the weights of the nuclear parts sum to the nuclear norm that the objective
    pays for. Atoms of a ReLU part stay as they are, for each has an activation of its own. Parts are each in the
    coordinates of their own conditioning, which gives their features the same summed variance; that makes their weights
    comparable.

    Examples
    --------
    >>> import numpy as np
    >>> from headwise.heads import HeadClassifier
    >>> X, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 2
    >>> X[:, 1] += 3 * y
    >>> found = atoms(HeadClassifier("linear", beta=0.05).fit(X, y).head_)
    >>> len(found), found[0].share, found[0].block
    (1, 1.0, 'linear on the patch tokens')
    """
    made: list[Atom] = []
    count = len(head.intercept)
    for number, (part, words) in enumerate(zip(head._parts(), head.part_words(), strict=True)):
        places = [(group, cell, gate) for group, cell in enumerate(part.fitted.cells) for gate in cell.indices]
        for matrix, (group, cell, gate) in enumerate(places):
            for a, b in zip(*part.atoms_of(matrix), strict=True) if len(part.u[matrix]) else ():
                reads = b[0] if len(b) == 1 else b.norm(dim=0)
                loadings = a.new_zeros(count)
                loadings[cell.columns] = a.norm() * reads
                own = Atom(
                    weight=float(a.norm() * b.norm()),
                    share=None,
                    part=number,
                    block=words,
                    gate=gate,
                    group=group if len(part.fitted.cells) > 1 else None,
                    matrix=matrix,
                    loadings=loadings.numpy(force=True),
                    u=a,
                    v=b,
                )
                made += [own] if own.weight else []
    nuclear = {n for n, part in enumerate(head._parts()) if part.convex and part.spec.penalty == "nuclear"}
    norm = sum(atom.weight for atom in made if atom.part in nuclear)
    made = [replace(atom, share=atom.weight / norm) if atom.part in nuclear else atom for atom in made]
    return Atoms(sorted(made, key=lambda atom: -atom.weight), head.output_names)


@torch.inference_mode()
def atom_outputs(head: Head, tokens: Tokens, found: Atoms | None = None) -> Tensor:
    """What each atom adds to the outputs, ``(n, atoms, c)``; summed over atoms, plus the intercept, it is the outputs.

    Parameters
    ----------
    head : Head
    tokens : Tokens
        Of `Head.batch`.
    found : Atoms, optional
        Those of `atoms`, where they are known already.
    """
    found = atoms(head) if found is None else found
    each = head._parts()[0].fitted.rows
    total = tokens.values.new_zeros(len(tokens.values) * each, len(found), len(head.intercept))
    for number, part in enumerate(head._parts()):
        own = [place for place, atom in enumerate(found) if atom.part == number]
        given = [(found[place].matrix, found[place].u, found[place].v) for place in own]
        total[:, own] = part.atom_outputs(tokens, given)
    return total.unflatten(0, (-1, each)) if head.per_token else total
