from __future__ import annotations

import copy
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from headwise.errors import InputError
from headwise.report import render, summary_html

VOID = {"meta", "link", "img", "br", "hr", "input"}
ORDER = [
    "headline", "heads", "comparison", "path", "certificate", "relu", "mistakes", "calibration", "forecast",
    "token_use", "dissection", "overlays", "data", "timings", "reproduce", "words",
]  # fmt: skip


class Page(HTMLParser):
    """All elements with their attributes and text; complains where tags do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute twice in {tag}: {attrs}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack, f"</{tag}> closes nothing"
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.stack or self.stack[-1] not in ("style", "title"):
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def said(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.text))


def words(html: str) -> str:
    return Page(html).said().replace("\u202f", " ").replace("\u2009", " ")


def test_whole_page(study: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    html = render(study, arrays)
    page = Page(html)
    assert [a["id"] for a in page.all("section")] == ORDER
    assert len(html.encode()) < 3_000_000
    assert html.count("data:image/jpeg") >= 12
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    links = [a["href"] for a in page.all("a")]
    assert links and all(link and link.startswith("#") and link[1:] in ids for link in links)
    for word in (
        "certificate",
        "rank",
        "beta",
        "mode",
        "weighted-cosine",
        "chance-band",
        "balanced-accuracy",
        "log-loss",
    ):
        assert f"#word-{word}" in links, f"{word} is never linked"


def test_page_loads_and_runs_nothing(study: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    html = render(study, arrays)
    page = Page(html)
    assert not re.search(r"https?://|@import|url\(", html)
    assert page.all("script") == []
    assert not any(name.startswith("on") for _, a in page.elements for name in a)
    for attributes in page.all("img"):
        assert (attributes["src"] or "").startswith("data:image/") and attributes["alt"]


def test_accessible(study: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    page = Page(render(study, arrays))
    assert all(a.get("scope") in ("row", "col", "colgroup") for a in page.all("th"))
    assert all(
        (a.get("role") == "img" and a.get("aria-label")) or a.get("aria-hidden") == "true" for a in page.all("svg")
    )
    assert len(page.all("caption")) == len(page.all("table"))
    assert page.all("html")[0]["lang"] == "en"


def test_sentences_follow_the_numbers(study: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    said = words(render(study, arrays))
    assert "Use “linear + attention”." in said
    assert "+2.5 points of accuracy on 361 test samples (95 % interval +0.8 to +4.4)" in said
    assert "the linear head is enough here" not in said
    # The gap is rounded up and the lower bound down: a printed claim is never stronger than the proved one.
    assert "lower than 0.214150. Ours has 0.214319: at most 0.00017 above that, or 0.079 %." in said
    assert "nothing about test accuracy" in said
    assert "5 of 24 attention heads lie in the chance band of ±0.12" in said
    assert "11 of 361 test samples are taken for another class. Most often “1” is taken for “8” (2 times)" in said


def test_calibration_in_words(study: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    said = words(render(study, arrays))
    assert "mean confidence of “linear + attention” is 94.2 %, and 97.0 % of its predictions are right" in said
    assert "on the whole it is less sure than it could be" in said
    assert "holds 220 of 361 predictions, with a confidence of at least 93 %" in said
    assert "calibration error is 2.1 % (95 % bootstrap interval 2.0 to 4.4 %)" in said
    assert "would show about 1.9 % on as many samples" in said
    study["calibration"].update(confidence=0.99)
    assert "more sure than it should be" in words(render(study, arrays))
    study["calibration"].update(confidence=0.97)
    assert "as sure as it should be" in words(render(study, arrays))


def test_linear_is_enough(study: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    study["comparison"].update(linear_is_enough=True, difference=0.002, low=-0.011, high=0.014)
    for head in study["heads"]:
        head["chosen"] = head["name"] == study["comparison"]["linear"]
    said = words(render(study, arrays))
    assert "Use “linear on the class token”: the linear head is enough here." in said
    assert "The interval holds zero" in said
    assert "Shown here is “linear + attention”, the best head that reads patch tokens" in said
    assert "test accuracy 94.5 % 91.6 to 96.4 %" in said  # of the head to use, not of the best on validation
    study["comparison"].update(best="linear on the class token")
    said = words(render(study, arrays))
    assert "nothing to compare" in said
    assert "No other certified head has a lower log-loss on the validation split." in said
    baseline = next(h for h in study["heads"] if h["name"] == "raw pixels")
    baseline["scores"]["val"]["accuracy"] = 0.9
    assert "does better on the validation split" not in words(render(study, arrays))
    baseline["scores"]["val"]["accuracy"] = 0.999
    said = words(render(study, arrays))
    assert f"A baseline does better on the validation split: “{baseline['name']}”, with 99.9 % against" in said


def test_what_chose_is_said(study: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    said = words(render(study, arrays))
    assert "The chosen beta, that of the lowest log-loss on validation, is" in said
    assert "the certified heads are compared by their log-loss on the validation split" in said
    for point in study["path"]:
        point["rank"] = 2
    assert "The rank is 2 throughout." in words(render(study, arrays))
    study["path"][1]["rank"] = 3
    assert "The rank is 2 at both ends." in words(render(study, arrays))


def test_ties_are_called_ties(study: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    for head, accuracy in zip(study["heads"][-2:], (0.98102, 0.98098), strict=True):
        head["scores"]["test"]["accuracy"] = accuracy
    names = [head["name"] for head in study["heads"][-2:]]
    said = words(render(study, arrays))
    assert f"The highest test accuracy is 98.1 %, “{names[0]}” and “{names[1]}”; next comes" in said


@pytest.mark.parametrize("key", ["backbone", "data", "heads", "comparison", "path", "paths", "certificate", "token_use",
                                 "dissection", "confusions", "calibration", "forecast", "timings", "versions",
                                 "settings", "command", "warnings", "title", "created", "device", "headwise_version",
                                 "seed"])  # fmt: skip
@pytest.mark.parametrize("how", ["absent", "none"])
def test_every_part_may_be_missing(study: dict[str, Any], arrays: dict[str, np.ndarray], key: str, how: str) -> None:
    if how == "absent":
        del study[key]
    else:
        study[key] = None
    study.get("dissection") and study["dissection"].update(overlays=[])  # keeps forty renderings quick
    study.get("token_use") and study["token_use"].update(examples=[])
    Page(render(study, arrays))
    summary_html(study)


def test_views_of_the_training_samples_are_said(study: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    assert "views of each" not in words(render(study, arrays))
    study["certificate"]["context"] = {"views": 4}
    assert "training samples (4 views of each), with the tokens" in words(render(study, arrays))


def test_smallest_study() -> None:
    page = Page(render({"format_version": 1}))
    assert [a["id"] for a in page.all("section")] == ["headline", "reproduce", "words"]


def test_what_was_not_measured_is_a_dash(study: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    head = study["heads"][-1]
    head.update(relative_gap=None, rank=None, parameters=None, seconds=float("nan"))
    head["scores"] = {"val": {"accuracy": None}, "test": None}
    study["path"][0].update(rank=None, accuracy_val=None, log_loss_val=float("inf"), relative_gap=0.0)
    study["dissection"]["weighted_cosine"][0] = [None, 0.1]
    study["certificate"].update(gap=None, relative_gap=None, failure_probability=None, kind=None)
    html = render(study, arrays)
    assert "nan" not in words(html).lower().replace("attention", "") and "None" not in words(html)
    row = re.search(r"linear \+ attention</span>.*?</tr>", html, re.DOTALL)
    assert row and row[0].count("<td>–</td>") + row[0].count('<td class="strong">–</td>') >= 9


@pytest.mark.parametrize(
    ("last", "bands", "said"),
    [
        ([0.02, -0.06], [0.06, 0.06], "−0.02 in the last (within chance)"),
        ([0.02, -0.08], [0.06, 0.06], "−0.03 in the last (tokens avoid their like)"),  # one is outside
        ([0.05, 0.05], [0.10, 0.04], "+0.05 in the last (some grouping)"),  # outside of its own, narrower band
        ([0.05, 0.05], None, "+0.05 in the last (within chance)"),  # one band for all
        ([0.90, 0.90], [0.06, 0.06], "+0.90 in the last (grouping: tokens look for tokens like themselves)"),
    ],
)
def test_a_layer_is_within_chance_where_all_of_its_attention_heads_are(
    study: dict[str, Any], arrays: dict[str, np.ndarray], last: list[float], bands: list[float] | None, said: str
) -> None:
    bands_of_both = None if bands is None else [[0.06, 0.06], bands]
    study["dissection"] |= {"weighted_cosine": [[0.3, 0.3], last], "weighted_chance": bands_of_both, "chance": 0.1}
    assert f"is +0.30 in the first layer (some grouping) and {said}." in words(render(study, arrays))


def test_hostile_names(study: dict[str, Any], arrays: dict[str, np.ndarray], hostile: Any) -> None:
    before = Page(render(study, arrays))
    spoiled = hostile(study)
    spoiled["title"] += "x" * 5000
    spoiled["paths"] = {"<b>" + name: path for name, path in study["paths"].items()}
    html = render(spoiled, arrays)
    page = Page(html)
    assert page.all("script") == [] and not any(name.startswith("on") for _, a in page.elements for name in a)
    assert "<script" not in html and "<img src=x" not in html
    assert "{{7*7}}" in html and "<script>alert(1)</script>" in page.said()
    # Names change no structure: the same elements, apart from links to words and the class table.
    kinds = {"img", "svg", "section", "figure", "circle", "rect", "nav", "style", "meta"}
    assert [t for t, _ in before.elements if t in kinds] == [t for t, _ in page.elements if t in kinds]
    summary = summary_html(spoiled)
    Page(summary)
    assert "<script" not in summary


def test_same_study_same_page(study: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    untouched = copy.deepcopy(study)
    assert render(study, arrays) == render(study, arrays)
    assert study == untouched


def test_many_classes_and_heads(study: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    study["data"].update(
        classes=[f"class {i}" for i in range(1000)], counts={"train": [5] * 1000, "val": [1] * 1000, "test": [2] * 1000}
    )
    study["confusions"]["matrix"] = (2 * np.eye(1000, dtype=int) + np.eye(1000, k=1, dtype=int)).tolist()
    study["dissection"]["weighted_cosine"] = np.linspace(-1, 1, 32 * 16).reshape(32, 16).tolist()
    html = render(study, arrays)
    Page(html)
    assert len(html.encode()) < 3_000_000
    assert "Samples of each of the 1000 classes" in html and "Taken for" in html


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s, a: s.update(format_version=2), "format version 2, this headwise reads 1"),
        (lambda s, a: s.pop("format_version"), "format version None"),
        (lambda s, a: s.update(heads={"a": 1}), r"study\['heads'\] is a list"),
        (lambda s, a: a.pop("photo/china.jpg"), "names the array 'photo/china.jpg'"),
        (lambda s, a: a.update({"photo/3": np.zeros((8, 8, 3))}), "uint8 .height, width, 3. is needed"),
        (lambda s, a: a.update({"token_use/mean": np.zeros(64)}), r"numbers of shape \(rows, columns\)"),
        (lambda s, a: a.update({"token_use/mean": np.full((8, 8), np.nan)}), "NaN or infinite"),
    ],
)
def test_bad_input(study: dict[str, Any], arrays: dict[str, np.ndarray], change: Any, said: str) -> None:
    change(study, arrays)
    with pytest.raises(InputError, match=said):
        render(study, arrays)


def test_not_a_study() -> None:
    with pytest.raises(InputError, match="a study is a mapping"):
        render([])  # type: ignore[arg-type]


def test_summary(study: dict[str, Any]) -> None:
    html = summary_html(study)
    page = Page(html)
    assert len(page.all("tr")) == 1 + len(study["heads"])
    assert "Use “linear + attention”." in page.said() and "0.079" in page.said()
    assert len(html) < 8000


def test_a_relu_head_is_named_approximate_and_never_certified(
    study: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    (section,) = re.findall(r'<section id="relu".*?</section>', render(study, arrays), re.S)
    gated, approximate = (words(row) for row in re.findall(r"<tr>.*?</tr>", section, re.S)[1:])
    assert "0.31274" in gated and "certified: at most 0.064 %" in gated
    assert "87.419" in approximate and "approximate" in approximate and "certified" not in approximate
    assert "280 times the 0.31274 of the gated head" in words(section)
    assert 'id="relu"' not in render({**study, "relu": None}, arrays)


def test_forecast_in_words(study: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    def section() -> str:
        (found,) = re.findall(r'<section id="forecast".*?</section>', render(study, arrays), re.S)
        return found

    html, said = section(), words(section())
    found = study["forecast"]
    curve, spectrum = found["curves"][0], found["spectrum"]
    assert "8 of 9 modes of the labels stand above the noise" in said and "#word-mode" not in html
    assert "(the 240 directions of most variance)" in said
    assert "best stopped at time 3.8" in said and f"{curve['doubled']['error']:.3f} is forecast" in said
    assert "measured on the 358 validation samples, the probe of one layer comes to" in said
    assert html.count('class="picked"') == 3 and "measured on the validation samples" in said
    rows = [words(row) for row in re.findall(r"<tr>.*?</tr>", html, re.S)[1:]]
    assert len(rows) == 2 and all("0.996" in row for row in rows)
    curve["doubled"]["error"] = curve["best"]["error"] - 0.001
    assert "twice the samples of the same kind would change little" in words(section())
    for each in found["curves"]:
        each["measured"] = None
    said = words(section())
    assert "not trained: that would have taken too long" in said and "measured on the validation samples" not in said
    spectrum.update(visible_modes=0, hidden_share=0.1, directions=256)
    said = words(section())
    assert "no single mode of the labels stands above the noise, but together" in said and "directions" not in said
    spectrum.update(hidden_share=0.0)
    curve["best"] = {"time": 0.0, "error": 1.0}
    said = words(section())
    assert "nothing learnable is visible" in said and "is best not trained at all" in said
    assert section().count('class="picked"') == 2, "of the other probe, and of the key"
    study["forecast"] = {"refused": "the features are <b>all</b> the same"}
    html = section()
    assert "No forecast was made: the features are &lt;b&gt;all" in html and "<svg" not in html
