"""The public names: importable, lazy, and functions where modules have the same name."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest

import headwise


@pytest.mark.parametrize("name", headwise.__all__)
def test_every_public_name_is_there(name):
    assert getattr(headwise, name) is not None
    assert name in dir(headwise)


def test_every_room_has_what_it_names():
    rooms = [importlib.import_module(found.name) for found in pkgutil.iter_modules(headwise.__path__, "headwise.")
             if found.ispkg]  # fmt: skip
    missing = [f"{room.__name__}.{name}" for room in rooms for name in getattr(room, "__all__", ())
               if not hasattr(room, name)]  # fmt: skip
    assert len(rooms) > 10 and not missing


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="nothing"):
        _ = headwise.nothing


@pytest.mark.parametrize(
    "code",
    [
        "import sys, headwise; assert 'torch' not in sys.modules",
        "import headwise.study, headwise.dissect; assert callable(headwise.study); assert callable(headwise.dissect)",
        "import headwise.forecast; assert callable(headwise.forecast); from headwise.forecast import logme",
        "import headwise; from headwise.forecast.measurement import measure; assert callable(headwise.forecast)",
        "import headwise; headwise.study; headwise.study; assert callable(headwise.study)",
        "import headwise; headwise.tokens.open_samples; headwise.contracts.Tokens; headwise.heads.PathPoint",
        "import headwise; assert {'tokens', 'contracts'} <= set(dir(headwise)); assert not hasattr(headwise, '_x')",
    ],
)
def test_in_a_fresh_process(code):
    subprocess.run([sys.executable, "-c", code], check=True)
