"""The example study and the browser, loaded by path: test folders are no packages."""

from __future__ import annotations

import copy
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).parent


def _load(name: str) -> ModuleType:
    full = f"report_tests_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, HERE / f"{name}.py")
        assert spec is not None and spec.loader is not None
        sys.modules[full] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[full])
    return sys.modules[full]


@pytest.fixture(scope="session")
def _example() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    return _load("example").example_study()


@pytest.fixture
def study(_example: Any) -> dict[str, Any]:
    """A study that a test may change."""
    return copy.deepcopy(_example[0])


@pytest.fixture
def arrays(_example: Any) -> dict[str, np.ndarray]:
    return dict(_example[1])


@pytest.fixture(scope="session")
def browser_module() -> ModuleType:
    return _load("browser")


@pytest.fixture(scope="session")
def browser(browser_module: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    binary = browser_module.find_chromium()
    if binary is None:
        if os.environ.get("HEADWISE_REQUIRE_BROWSER"):
            pytest.fail("HEADWISE_REQUIRE_BROWSER is set and no Chromium was found")
        pytest.skip(
            "no Chromium found; install one (Debian: apt-get install chromium) or name one: CHROMIUM=/path/to/it"
        )
    with browser_module.Browser(binary, tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="session")
def hostile() -> Callable[[Any], Any]:
    """Puts text that tries to break out of HTML in front of every name of a study."""
    return spoil


EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;{{7*7}} \U0001f419 "


def spoil(value: Any) -> Any:
    """``value`` with `EVIL` in all its strings but keys of arrays, kinds and dates."""
    if isinstance(value, dict):
        kept = ("_key", "kind", "created", "metric")
        return {k: v if k.endswith(kept) or k == "key" else spoil(v) for k, v in value.items()}
    if isinstance(value, list):
        return [spoil(v) for v in value]
    return EVIL + value if isinstance(value, str) else value


@pytest.fixture(scope="session")
def explored() -> Callable[..., Any]:
    """A dissection with its evidence as the explorer page takes it, and its arrays."""
    return _load("explored").example
