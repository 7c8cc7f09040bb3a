"""The main job: images or tokens with labels in; a certified head, a dissected backbone and a report out."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file

from .backbones import load_backbone
from .contracts import Backbone, Progress
from .dissect import dissect, overlays
from .errors import InputError
from .files import claim_folder, read_json, replacing, write_json, write_tensors
from .heads.compare import HeadResult, Splits, baseline_results, certified_results, paired_bootstrap
from .heads.conditioning import Conditioner
from .heads.explain import token_use
from .heads.save import load_head, save_head
from .report import render, summary_html
from .tokens import ArrayData, ArrayTokens, ImageSamples, TokenStore, extract, make_splits, open_data, read_photographs
from .version import __version__

__all__ = ["Study", "choose_device", "predict", "study"]

FORMAT_VERSION = 1
PIXEL_SIDE = 32  # images are shrunk to this side for the raw-pixel baseline


@dataclass
class Study:
    """Everything that one run found: plain data, arrays for the pictures, and where the files are.

    Attributes
    ----------
    data : dict
        What ``study.json`` holds: heads and baselines with scores, the path, the certificate, the dissection, versions.
    arrays : dict of ndarray
        Photographs and maps, what ``study.safetensors`` holds.
    path : Path
        Folder with ``report.html``, ``study.json``, ``head/`` and ``tokens/``.
    """

    data: dict[str, Any]
    arrays: dict[str, NDArray[Any]] = field(repr=False)
    path: Path

    @property
    def report(self) -> Path:
        """The report file."""
        return self.path / "report.html"

    @property
    def answer(self) -> str:
        """The result in one sentence."""
        return str(self.data["answer"])

    def head(self) -> Any:
        """The best certified head, an ``nn.Module`` on raw tokens."""
        return load_head(self.path / "head")

    def save(self) -> None:
        """Write ``study.json``, ``study.safetensors`` and ``report.html``."""
        file = self.path / "study.safetensors"
        file.unlink(missing_ok=True)
        if self.arrays:  # tokens without a grid have no pictures
            write_tensors(file, {k: torch.from_numpy(np.array(v)) for k, v in self.arrays.items()})
        write_json(self.path / "study.json", self.data)
        with replacing(self.report) as part:
            part.write_text(render(self.data, self.arrays), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Study:
        """Read a study from its folder."""
        path = Path(path)
        data = read_json(path / "study.json")
        if data.get("format_version", 0) > FORMAT_VERSION:
            raise InputError(
                f"{path} was written by a newer headwise ({data.get('headwise_version')}); upgrade this one"
            )
        file = path / "study.safetensors"
        arrays = {k: v.numpy() for k, v in load_file(file).items()} if file.exists() else {}
        return cls(data, arrays, path)

    def _repr_html_(self) -> str:
        return summary_html(self.data)


def study(
    data: str | Path | Any = "digits",
    backbone: str | Backbone = "embedded",
    out: str | Path = "headwise-study",
    *,
    device: str = "auto",
    layer: int = -1,
    seed: int = 0,
    tol: float = 1e-3,
    betas: int = 10,
    n_components: int = 32,
    batch_size: int = 64,
    strict: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
    announce: Callable[[str], object] | None = None,
    command: str | None = None,
) -> Study:
    """Fit certified heads on frozen tokens, compare them with baselines, dissect the backbone, write a report.

    Parameters
    ----------
    data : str, path, ImageSamples, ArrayData or TokenStore
        "digits" (ships with scikit-learn), an image folder, a table of paths, arrays of tokens or images, or a store.
    backbone : str or Backbone
        "embedded", "timm/NAME" or "timm/NAME@weights.safetensors". Not used where the data are tokens.
    out : path
        Folder for ``report.html``, ``study.json``, ``head/`` and ``tokens/``. The same settings go on in it.
    device : str
        Where the backbone runs: "auto", "cpu", "cuda" ...
    layer : int
        Layer whose tokens are used, negative from the end.
    seed : int
        Decides splits and resamples.
    tol : float
        Certified relative gap of every head.
    betas : int
        Points of each beta path.
    n_components : int
        Components kept by the conditioning of attention parts.
    batch_size : int
        Images in one pass of the backbone.
    strict : bool
        Stop at the first image that cannot be read, instead of leaving it out.
    overwrite : bool
        Replace a study made with other settings.
    progress : callable, optional
        See `headwise.contracts.Progress`.
    announce : callable, optional
        Given sentences for people: sizes and times before long work, what was skipped.
    command : str, optional
        How to run the same again, for the report.

    Returns
    -------
    Study

    Raises
    ------
    InputError
        Data, backbone or folder that cannot be used; the message says what to do.

    Examples
    --------
    >>> import headwise
    >>> result = headwise.study("digits", out="my-study")  # doctest: +SKIP
    >>> result.answer  # doctest: +SKIP
    """
    if betas < 2 or not tol > 0:
        raise InputError(f"betas must be at least 2 and tol positive, got {betas} and {tol}")
    out, clock, warnings = Path(out), _Clock(), list[str]()
    tell = progress or (lambda step, done, total: None)
    if not str(out).strip():
        raise InputError("out is empty; give a folder")
    settings: dict[str, Any] = {
        "data": str(data) if isinstance(data, (str, Path)) else type(data).__name__,
        "backbone": backbone if isinstance(backbone, str) else backbone.name,
        "layer": layer,
        "seed": seed,
        "tol": tol,
        "betas": betas,
        "n_components": n_components,
    }
    found = open_data(data) if isinstance(data, (str, Path)) else data
    model: Backbone | None = None
    if isinstance(found, ImageSamples):
        with clock("load the backbone"):
            tell("load the backbone", 0, 1)
            model = load_backbone(backbone, choose_device(device)) if isinstance(backbone, str) else backbone
            tell("load the backbone", 1, 1)
    # only now, so that a misspelt backbone or data set leaves no folder behind
    claim_folder(out, "study", settings, overwrite)
    with clock("extract tokens"):
        store, samples = _tokens(
            found,
            model,
            out / "tokens",
            layer=layer,
            seed=seed,
            batch_size=batch_size,
            device=choose_device(device),
            strict=strict,
            overwrite=overwrite,
            progress=tell,
            announce=announce,
        )
    splits, class_names = _splits(store, seed)
    if store.skipped:
        warnings.append(f"{len(store.skipped)} images could not be read and were left out")
    names = ["linear_prefix"] if store.num_prefix else []
    if store.num_tokens > store.num_prefix:
        names += ["linear"] + (["attention", "default"] if store.num_tokens - store.num_prefix > 1 else [])
    with clock("fit baselines"):
        tell("fit baselines", 0, 1)
        results = baseline_results(store, splits, _pixels(samples, store, splits))
        tell("fit baselines", 1, 1)
    with clock("fit certified heads"):
        results += certified_results(
            store,
            splits,
            names,
            conditioner=Conditioner(n_components=n_components),
            betas=betas,
            tol=tol,
            progress=tell,
        )
    certified = [r for r in results if r.kind == "certified"]
    best = min(certified, key=lambda r: r.scores["val"].log_loss)
    linear = min((r for r in certified if r.linear), key=lambda r: r.scores["val"].log_loss)
    comparison = paired_bootstrap(best, linear, splits.targets["test"], seed)
    assert best.head is not None and best.head.certificate is not None
    best.head.class_names = list(class_names)
    save_head(best.head, out / "head", overwrite=True)
    arrays: dict[str, NDArray[Any]] = {}
    with clock("explain the head"):
        use = _token_use(best, store, splits, samples, class_names, arrays)
    dissection = None
    if model is not None:
        with clock("dissect the backbone"):
            dissection = _dissection(model, arrays, tell)
    tell("write the report", 0, 1)
    confusion = np.zeros((splits.num_classes, splits.num_classes), dtype=int)
    np.add.at(confusion, (splits.targets["test"], best.probabilities.argmax(1)), 1)
    result = {
        "format_version": FORMAT_VERSION,
        "title": _title(model, str(settings["data"])),
        "answer": _answer(best, comparison),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "headwise_version": __version__,
        "command": command,
        "seed": seed,
        "settings": settings,
        "versions": _versions(),
        "device": choose_device(device),
        "warnings": warnings,
        "backbone": _backbone_facts(model, layer),
        "data": _data_facts(settings["data"], found, store, splits, class_names),
        "heads": [{**r.to_dict(), "chosen": r is best} for r in results],
        "comparison": asdict(comparison),
        "path": _path(best),
        "paths": {r.name: _path(r) for r in certified},
        "certificate": best.head.certificate.to_dict(),
        "token_use": use,
        "dissection": dissection,
        "confusions": {"matrix": confusion.tolist()},
        "timings": [{"step": step, "seconds": seconds} for step, seconds in clock.steps],
    }
    made = Study(result, arrays, out)
    made.save()
    tell("write the report", 1, 1)
    return made


def predict(
    head: Any,
    data: str | Path,
    *,
    backbone: str = "embedded",
    layer: int = -1,
    device: str = "cpu",
    progress: Progress | None = None,
) -> tuple[list[str], NDArray[Any]]:
    """Ids and class probabilities of a saved head on a store, arrays of tokens, or images.

    Images go through ``backbone`` in chunks; nothing is written.
    """
    found = open_data(data)
    if isinstance(found, TokenStore):
        return list(found.ids), head.outputs(found).softmax(1).numpy()
    if isinstance(found, ArrayData):
        source = ArrayTokens(found.tokens, found.mask, head.facts.num_prefix, head.facts.grid)
        ids = list(found.ids) if found.ids else [str(i) for i in range(len(found))]
        return ids, head.outputs(source).softmax(1).numpy()
    model = load_backbone(backbone, device)
    pieces = []
    for start in range(0, len(found), 64):
        rows = range(start, min(start + 64, len(found)))
        batch = model.preprocess([found.image(i) for i in rows])
        with torch.inference_mode():
            tokens = model.tokens(batch, layers=(layer,))[0].cpu()
            pieces.append(head(tokens.to(head.intercept.dtype)).softmax(1).numpy())
        if progress:
            progress("predict", rows[-1] + 1, len(found))
    return list(found.ids), np.concatenate(pieces)


class _Clock:
    """Seconds of each step."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, float]] = []

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.steps.append((step, round(time.perf_counter() - began, 3)))


def choose_device(name: str) -> str:
    """The device that a name means ("auto": CUDA where there is one), checked."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {name!r} cannot be used ({str(error).splitlines()[0]}); try --device cpu") from None
    return name


def _tokens(
    found: ImageSamples | ArrayData | TokenStore,
    model: Backbone | None,
    path: Path,
    *,
    layer: int,
    seed: int,
    batch_size: int,
    device: str,
    strict: bool,
    overwrite: bool,
    progress: Progress,
    announce: Callable[[str], object] | None,
) -> tuple[TokenStore, ImageSamples | None]:
    """A store with a train, a validation and a test part, and the images where there are any."""
    if isinstance(found, TokenStore):
        return found, None
    split = make_splits(found.labels, found.groups, seed=seed, split=found.split)
    if isinstance(found, ImageSamples):
        assert model is not None
        samples = found.with_split(split)
        store = extract(
            model,
            samples,
            path,
            layer=layer,
            batch_size=batch_size,
            device=device,
            strict=strict,
            overwrite=overwrite,
            progress=progress,
            announce=announce,
        )
        return store, samples
    store = TokenStore.from_arrays(
        path,
        found.tokens,
        found.labels,
        split=split,
        groups=found.groups,
        class_names=found.class_names,
        mask=found.mask,
        grid=found.grid,
        num_prefix=found.num_prefix,
        ids=found.ids,
        dtype=_dtype(found.tokens),
        description=found.description,
        progress=progress,
        overwrite=overwrite,
    )
    return store, None


def _dtype(tokens: NDArray[Any]) -> str:
    name = str(tokens.dtype)
    return name if name in ("float16", "float32", "float64") else "float32"


def _splits(store: TokenStore, seed: int) -> tuple[Splits, list[str]]:
    if store.labels.dtype.kind != "i":
        raise InputError("study needs class labels; these labels are real numbers")
    split = make_splits(store.labels, store.groups, seed=seed, split=store.split)
    classes = np.unique(store.labels)
    if len(classes) < 2:
        raise InputError(f"the labels hold one class only ({classes[0]}); study needs at least two")
    names = [store.class_names[i] if store.class_names else str(i) for i in classes]
    rows = {part: np.flatnonzero(split == part) for part in ("train", "val", "test")}
    targets = {part: np.searchsorted(classes, store.labels[r]) for part, r in rows.items()}
    return Splits(rows, targets, len(classes)), names


def _pixels(samples: ImageSamples | None, store: TokenStore, splits: Splits) -> dict[str, NDArray[Any]] | None:
    """Small raw images as vectors, in the order of the store's rows."""
    if samples is None:
        return None
    where = {name: i for i, name in enumerate(samples.ids)}

    def vector(row: int) -> NDArray[Any]:
        image = samples.image(where[store.ids[row]])
        if max(image.size) > PIXEL_SIDE or len({image.size, first}) > 1:
            image = image.resize((PIXEL_SIDE, PIXEL_SIDE))
        return np.asarray(image, dtype=np.float32).ravel() / 255

    first = samples.image(where[store.ids[0]]).size
    if max(first) > PIXEL_SIDE:
        first = (PIXEL_SIDE, PIXEL_SIDE)
    return {part: np.stack([vector(int(r)) for r in rows]) for part, rows in splits.rows.items()}


def _token_use(
    best: HeadResult,
    store: TokenStore,
    splits: Splits,
    samples: ImageSamples | None,
    names: list[str],
    arrays: dict[str, NDArray[Any]],
) -> dict[str, Any] | None:
    if store.grid is None or best.head is None:
        return None
    rows = splits.rows["test"][:500]
    use = token_use(best.head, store, rows)
    prefix = store.num_prefix
    arrays["token_use/mean"] = use.mean[prefix:].reshape(store.grid).astype(np.float32)
    examples = []
    where = {} if samples is None else {name: i for i, name in enumerate(samples.ids)}
    for target in range(min(splits.num_classes, 8)):
        position = next((i for i, t in enumerate(splits.targets["test"][:500]) if t == target), None)
        if position is None or samples is None:
            continue
        key = f"token_use/{target}"
        image = samples.image(where[store.ids[int(rows[position])]]).resize((96, 96))
        arrays[f"{key}/image"] = np.asarray(image, dtype=np.uint8)
        arrays[f"{key}/map"] = use.samples[position, prefix:].reshape(store.grid).astype(np.float32)
        examples.append(
            {
                "image_key": f"{key}/image",
                "map_key": f"{key}/map",
                "label": names[target],
                "predicted": names[int(use.predicted[position])],
            }
        )
    share = float(use.mean[:prefix].sum())
    return {
        "grid": list(store.grid),
        "map_key": "token_use/mean",
        "prefix_share": share,
        "patch_share": 1 - share,
        "examples": examples,
        "note": f"Share of each token in the evidence for the predicted class, averaged over {len(rows)} test samples.",
    }


def _dissection(model: Backbone, arrays: dict[str, NDArray[Any]], tell: Progress) -> dict[str, Any]:
    tell("dissect the backbone", 0, 2)
    photographs = read_photographs()
    images = [_square(photographs.image(i)) for i in range(len(photographs))]
    batch = model.preprocess(images)
    found = dissect(model, batch)
    tell("dissect the backbone", 1, 2)
    entries, photos = [], []
    for index, image in enumerate(images):
        arrays[f"photo/{index}"] = np.asarray(image.resize((192, 192)), dtype=np.uint8)
        photos.append({"key": f"photo/{index}", "name": photographs.ids[index]})
    for number, overlay in enumerate(overlays(model, batch)):
        key = f"overlay/{number}"
        arrays[f"{key}/query"], arrays[f"{key}/key"] = overlay.query_map, overlay.key_map
        entries.append(
            {
                "photo_key": f"photo/{overlay.image}",
                "layer": overlay.layer,
                "head": overlay.head,
                "mode": overlay.mode,
                "sigma": overlay.sigma,
                "cosine": overlay.cosine,
                "share": overlay.share,
                "query_key": f"{key}/query",
                "key_key": f"{key}/key",
            }
        )
    tell("dissect the backbone", 2, 2)
    # the map shows weighted cosines, so its band is theirs: the widest of the permutation bands
    chance = float(found.weighted_chance.max())
    return {**found.to_dict(), "chance": chance, "mode_chance": found.chance, "overlays": entries, "photos": photos}


def _square(image: Image.Image) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _title(model: Backbone | None, data: str) -> str:
    name = Path(data).name or data
    if model is None:
        return f"{name}: tokens from disk"
    return f"{name} on the {model.name} backbone"


def _path(result: HeadResult) -> list[dict[str, Any]]:
    return [
        {
            "beta": p.beta,
            "relative_gap": p.relative_gap,
            "rank": p.rank,
            "accuracy_val": p.accuracy,
            "log_loss_val": p.log_loss,
            "seconds": p.seconds,
            "chosen": p.beta == result.beta,
        }
        for p in result.path
    ]


def _answer(best: HeadResult, comparison: Any) -> str:
    accuracy = best.scores["test"].accuracy
    proved = f"certified within {best.relative_gap:.1e} of the best head of its kind"
    if comparison.linear_is_enough:
        linear = "" if best.linear else f" (the richer head differs by {100 * comparison.difference:+.1f} points)"
        return f"The linear head is enough here: {comparison.linear}{linear}."
    return (
        f"Use {best.what}: test accuracy {100 * accuracy:.1f} %, {100 * comparison.difference:+.1f} points over the "
        f"best linear head, {proved}."
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "headwise": __version__}
    for name in (
        "torch",
        "torchvision",
        "numpy",
        "scipy",
        "scikit-learn",
        "safetensors",
        "pillow",
        "timm",
        "transformers",
    ):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _backbone_facts(model: Backbone | None, layer: int) -> dict[str, Any] | None:
    if model is None:
        return None
    return {
        "name": model.name,
        "parameters": model.num_parameters,
        "width": model.width,
        "depth": model.depth,
        "num_heads": model.num_heads,
        "grid": list(model.grid),
        "num_prefix": model.num_prefix_tokens,
        "weights_hash": model.weights_hash,
        "layer": layer % model.depth,
        "description": getattr(model, "description", ""),
    }


def _data_facts(name: str, found: Any, store: TokenStore, splits: Splits, names: list[str]) -> dict[str, Any]:
    return {
        "name": Path(name).name or name,
        "description": getattr(found, "description", "") or store.manifest.source.get("description", ""),
        "num_samples": store.num_samples,
        "num_tokens": store.num_tokens,
        "token_width": store.width,
        "classes": names,
        "counts": {part: np.bincount(t, minlength=splits.num_classes).tolist() for part, t in splits.targets.items()},
        "skipped": [name for name, _ in store.skipped],
    }
