"""What all tests share: threads, seeds, and a folder of real weights where there is one."""

from __future__ import annotations

import os

# Two workers with as many threads each as there are cores would fight for them. Set before torch and numpy start
# theirs; processes that tests start inherit it.
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_THREADS = max(1, (os.cpu_count() or 1) // _WORKERS)
os.environ.setdefault("OMP_NUM_THREADS", str(_THREADS))

import importlib.util  # noqa: E402
import random  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from hypothesis import settings  # noqa: E402

torch.set_num_threads(_THREADS)

# The same examples on every run and machine, and no limit of time for one: a busy machine is not a failure.
# To look for new counterexamples: pytest --hypothesis-profile=default
settings.register_profile("repeatable", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("repeatable")


def _define_torchvision_operators() -> torch.library.Library | None:
    """Declare the operators that torchvision names when it is imported, where its compiled part does not load.

    A torchvision built for another build of torch (CUDA against CPU) cannot be imported, and timm needs it for nothing
    but image transforms. The declarations have no implementation; no test calls them. The package itself never does
    this: it says which versions it found.
    """
    found = importlib.util.find_spec("torchvision")
    for folder in (found.submodule_search_locations or []) if found else []:
        for library in Path(folder).glob("_C*"):
            try:
                torch.ops.load_library(str(library))
            except OSError:
                continue
        if not hasattr(torch.ops.torchvision, "nms"):
            library = torch.library.Library("torchvision", "DEF")
            library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            return library
    return None


_TORCHVISION = _define_torchvision_operators()  # the declarations last as long as this object


@pytest.fixture(autouse=True)
def _seeds() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - for libraries that still use it
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """A folder with real weights and data; tests that need it are skipped where it is absent."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("HEADWISE_DATA", beside))
    if not folder.is_dir():
        pytest.skip("no folder with real weights and data; to run this test, name one: HEADWISE_DATA=FOLDER make test")
    return folder
