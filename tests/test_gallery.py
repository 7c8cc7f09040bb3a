"""The pages of the gallery use public names only, and run."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import headwise
from headwise.dissect import __all__ as DISSECTION

GALLERY = Path(__file__).parents[1] / "docs" / "gallery"
EXAMPLES = sorted(GALLERY.rglob("*.py"))
ROOMS = {"mixers", "theory"}  # public as a whole: docs/mixers.md and docs/theory.md list their names
OTHERS = {f"headwise.dissect.{name}" for name in DISSECTION}  # docs/dissection.md lists these


def _private(tree: ast.AST) -> list[str]:
    """Names of headwise that a script uses and that are not public."""
    used = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            used += [n.name for n in node.names if n.name.startswith("headwise.")]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "headwise":
            used += [n.name if node.module == "headwise" else f"{node.module}.{n.name}" for n in node.names]
        elif isinstance(node, ast.Attribute) and (
            node.attr.startswith("_") or (isinstance(node.value, ast.Name) and node.value.id in ("hw", "headwise"))
        ):
            used.append(node.attr)
    return [name for name in used if name not in {*headwise.__all__, *ROOMS, *OTHERS}]


def test_there_is_a_page_for_each_block_and_loss():
    text = "\n".join(path.read_text(encoding="utf-8") for path in EXAMPLES)
    for block in ("linear", "mlp", "attention", "mlp_mixer", "fno", "bfno", "hadamard"):
        assert any(path.stem.endswith(f"_{block}") for path in EXAMPLES), block
    for loss in ("binary", "huber", "poisson", "cox"):
        assert f'loss="{loss}"' in text or f'"loss": "{loss}"' in text, loss


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_page_compiles_and_uses_public_names(path):
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    compile(tree, str(path), "exec")
    assert (ast.get_docstring(tree) or "").strip().splitlines()[1].startswith("===")
    assert not _private(tree)


def test_private_names_are_found():
    code = "import headwise as hw\nfrom headwise.heads import Head\nfrom headwise import nothing\nhw.wrong\nmodel._kind"
    assert sorted(_private(ast.parse(code))) == ["_kind", "headwise.heads.Head", "nothing", "wrong"]


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_page_runs(path, tmp_path, request):
    command = [sys.executable, "-W", "error", "-W", "ignore:FigureCanvasAgg is non-interactive", str(path)]
    env = {**os.environ, "MPLBACKEND": "Agg"}
    if path.stem.endswith("minilm"):
        request.getfixturevalue("minilm")  # or it is skipped
        command[-1:] = ["-c", f"import conftest, runpy; runpy.run_path({str(path)!r})"]  # for torchvision; see there
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent), env.get("PYTHONPATH")]))
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
