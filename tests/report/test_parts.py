from __future__ import annotations

import re
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from headwise.report import fmt, images, scale
from headwise.report.colours import contrast, diverging, sequential, text_on, viridis
from headwise.report.figures.accuracy import Row, accuracy_chart, axis_start, wilson
from headwise.report.figures.learning import learning_chart
from headwise.report.figures.path import path_panel
from headwise.report.figures.reliability import reliability_chart
from headwise.report.words import WORDS, Linker

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12)
SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹−", "-0123456789-")


def read(text: str) -> float:
    """The number that a person reads."""
    text = text.translate(SUPERSCRIPTS).replace(",", "")
    return float(re.sub(r"×10(-?\d+)", r"e\1", text))


@given(NUMBERS, st.integers(1, 6))
def test_significant_digits_read_back(value: float, digits: int) -> None:
    assert read(fmt.significant(value, digits)) == pytest.approx(float(f"{value:.{digits - 1}e}"), rel=1e-12, abs=0)
    assert read(fmt.short(value, digits)) == read(fmt.significant(value, digits))


@given(NUMBERS, st.integers(1, 6))
def test_bounds_are_rounded_to_the_safe_side(value: float, digits: int) -> None:
    low, high = read(fmt.at_least(value, digits)), read(fmt.at_most(value, digits))
    assert low <= value <= high
    assert high - low <= 2 * 10.0 ** (1 - digits) * max(abs(low), abs(high))


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (fmt.percent(0.97216), "97.2 %"),
        (fmt.percent(0.0000123, 2), "0.0012 %"),
        (fmt.percent(None), "–"),
        (fmt.percent_at_most(0.0009401), "0.095 %"),
        (fmt.points(-0.0049), "−0.5"),
        (fmt.points(0.0), "0.0"),
        (fmt.signed(-0.001), "0.00"),
        (fmt.count(1_213_056), "1.21 M"),
        (fmt.count(63_635), "63,635"),
        (fmt.seconds(0.0082), "8 ms"),
        (fmt.seconds(59.7), "1 min 00 s"),
        (fmt.seconds(7500), "2 h 05 min"),
        (fmt.range_percent(0.951, 0.978), "95.1 to 97.8 %"),
        (fmt.date("2026-11-21T04:46:00+00:00"), "21 November 2026, 04:46 UTC"),
        (fmt.date("yesterday"), "yesterday"),
    ],
)
def test_formats(said: str, text: str) -> None:
    assert said.replace(fmt.THIN, " ").replace(fmt.NO_BREAK, " ") == text


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8), st.booleans())
def test_linear_axis_holds_its_values(values: list[float], integers: bool) -> None:
    axis = scale.linear(values, integers=integers)
    assert all(-1e-6 <= axis.at(v) <= 1 + 1e-6 for v in values)
    assert 2 <= len(axis.ticks) <= 9 and len(set(axis.labels)) == len(axis.labels)


@given(st.lists(st.floats(1e-9, 1e4), min_size=1, max_size=8))
def test_log_axis_holds_its_values(values: list[float]) -> None:
    axis = scale.log(values)
    assert all(0 <= axis.at(v) <= 1 for v in values)
    assert axis.ticks and len(axis.ticks) <= 8 and list(axis.ticks) == sorted(axis.ticks)


@pytest.mark.parametrize(("right", "num"), [(0, 7), (341, 361), (10, 10)])
def test_wilson_interval_is_scipys(right: int, num: int) -> None:
    known = binomtest(right, num).proportion_ci(method="wilson")
    assert wilson(right / num, num) == pytest.approx((known.low, known.high), abs=1e-6)


def test_far_baselines_do_not_stretch_the_axis() -> None:
    assert axis_start([0.1, 0.93, 0.95, 0.96, 0.97]) == 0.93
    assert axis_start([0.5, 0.6, 0.7, 0.8]) == 0.5


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.sampled_from([5, 40, 5000]))
def test_every_interval_lies_on_the_axis(tests: list[float], num: int) -> None:
    rows = [Row(str(i), 0.5, test) for i, test in enumerate(tests)]
    chart = str(accuracy_chart(rows, num))
    places = [float(x) for x in re.findall(r'(?:x1|x2|cx)="(-?[\d.]+)%"', chart)]
    assert min(places) >= 0 and max(places) <= 100
    assert all(0 <= float(tick) <= 100 for tick in re.findall(r">([\d.]+)</text>", chart))
    drawn, far = chart.count("whisker"), chart.count("◂")
    assert drawn + far == len(rows) and drawn >= 1
    assert chart.count('class="ring') == drawn


def test_percentages_end_at_100() -> None:
    axis = scale.linear([96.0, 99.9], within=(0, 100))
    assert axis.high == 100 and max(axis.ticks) == 100
    panel = str(path_panel("accuracy", [0.1, 0.01], [100.0, 100.0], 0.1, within=(0, 100)))
    assert ">100<" in panel.replace(".0", "") and ">105<" not in panel


def test_path_panel_draws_what_it_is_given() -> None:
    panel = path_panel("rank", [0.1, 0.01, 0.001], [1, None, 9], 0.001)
    assert panel is not None and panel.count("<circle") == 2 and panel.count('class="picked"') == 1
    assert path_panel("gap", [0.1, 0.01], [0.0, 0.1], None, log=True) is None


def test_reliability_chart_draws_every_bin_that_holds_samples() -> None:
    chart = reliability_chart([(None, None, 0), (0.3, 0.25, 8), (None, None, 0), (0.9, 1.0, 40)])
    assert chart is not None and chart.count("<circle") == chart.count("<rect") == 2
    assert chart.count('class="whisker used"') == 2 and chart.count('class="ideal"') == 1
    for said in ("accuracy (%)", "confidence (%)", "samples", "confidence 90.0", "of 40 samples", "25.0 to 50.0"):
        assert said in chart.replace(fmt.THIN, " ")
    bars = re.findall(r'<rect x="([\d.]+)%" width="([\d.]+)%" y="([\d.]+)" height="([\d.]+)"', str(chart))
    (x, width, y, height), (_, _, top, tall) = (map(float, bar) for bar in bars)
    assert x > 25 and x + width < 50, "a bar stands over its bin"
    assert tall == pytest.approx(5 * height, abs=0.1) and y + height == pytest.approx(top + tall), "bars begin at 0"
    (first, second) = (float(y) for y in re.findall(r'<circle cx="[\d.]+%" cy="([\d.]+)"', str(chart)))
    assert second < first, "a higher accuracy stands higher"
    assert reliability_chart([(None, None, 0)]) is None


def test_reliability_chart_of_one_sample() -> None:
    chart = reliability_chart([(1.0, 0.0, 1)])
    assert chart is not None and "nan" not in chart


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_on_coloured_cells_is_readable(theme: str) -> None:
    for value in np.linspace(-1, 1, 81):
        for colour in (diverging(value, theme), sequential(value, theme)):
            assert contrast(colour, text_on(colour)) >= 4.5


def test_diverging_colours_are_centred() -> None:
    for theme in ("light", "dark"):
        red, _, blue = (int(diverging(0.0, theme)[i : i + 2], 16) for i in (1, 3, 5))
        assert abs(red - blue) < 12
        assert int(diverging(1.0, theme)[1:3], 16) > int(diverging(1.0, theme)[5:7], 16)
        assert int(diverging(-1.0, theme)[1:3], 16) < int(diverging(-1.0, theme)[5:7], 16)


def test_viridis_grows_lighter() -> None:
    light = viridis(np.linspace(0, 1, 50)) @ [0.299, 0.587, 0.114]
    assert (np.diff(light) > 0).all()


def test_text_colours_of_both_themes_are_readable() -> None:
    css = files("headwise.report").joinpath("templates/style.css").read_text(encoding="utf-8")
    themes = [
        dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", css, re.DOTALL)[:2]
    ]
    assert len(themes) == 2
    for theme in themes:
        for text in ("text", "muted", "link"):
            for paper in ("paper", "raised", "faint"):
                assert contrast(theme[text], theme[paper]) >= 4.5, (text, paper)
        assert contrast(theme["text"], theme["chip"]) >= 4.5 and contrast(theme["text"], theme["note"]) >= 4.5
        for mark in ("used", "other", "hot"):
            assert contrast(theme[mark], theme["paper"]) >= 3


def test_overlay_shows_query_red_key_cyan_overlap_white() -> None:
    photo = np.full((40, 40, 3), 128, dtype=np.uint8)
    query, key = np.zeros((8, 8)), np.zeros((8, 8))
    query[:4], key[:, :4] = 1.0, 1.0  # top asks, left answers
    picture = images.modes(photo, query, key).astype(int)
    size = picture.shape[0]
    at = {name: picture[size * r // 8, size * c // 8] for name, (r, c) in
          {"both": (1, 1), "query": (1, 6), "key": (6, 1), "none": (6, 6)}.items()}  # fmt: skip
    assert at["query"][0] > at["query"][1] + 60 and at["key"][1] > at["key"][0] + 60
    assert np.ptp(at["both"]) < 5 and np.ptp(at["none"]) < 5
    assert at["both"].min() > at["none"].max() + 60


def test_map_on_a_wide_photograph_keeps_its_place() -> None:
    photo = np.full((30, 60, 3), 200, dtype=np.uint8)
    values = np.zeros((2, 4))
    values[0, 3] = 1.0
    picture = images.heat(photo, values).astype(int)
    height, width = picture.shape[:2]
    assert width == 2 * height
    brightest = picture[..., :2].sum(axis=2)  # yellow
    assert brightest[height // 4, 7 * width // 8] > brightest[3 * height // 4, width // 8] + 150


def test_constant_maps_are_drawn() -> None:
    photo = np.zeros((4, 4, 3), dtype=np.uint8)
    assert images.modes(photo, np.ones((2, 2)), np.zeros((2, 2))).shape == (320, 320, 3)
    assert images.heat(photo, np.zeros((2, 2))).dtype == np.uint8


@given(st.text())
def test_linker_escapes_everything(text: str) -> None:
    linked = str(Linker()(text))
    assert not re.search(r"<(?!a class=\"word\" href=\"#word-[a-z-]+\">|/a>)", linked)
    assert not re.search(r"&(?!amp;|lt;|gt;|#34;|#39;)", linked)


def test_linker_links_a_word_once() -> None:
    link = Linker()
    assert str(link("Ranks, rank, RANK")).count("<a ") == 1
    assert "<a " not in str(link("rank"))
    assert 'href="#word-attention-head">attention heads</a>' in str(link("two attention heads"))
    assert all(key == key.lower() and meaning.endswith((".", "nats.")) for key, (_, meaning, _) in WORDS.items())


def test_learning_chart_draws_forecast_and_measurement() -> None:
    times, error = [0.0, *np.geomspace(0.01, 10, 99)], np.linspace(1, 0.4, 100).tolist()
    chart = str(learning_chart("probe", times, error, error, (1.0, 0.5), error))
    assert chart.count("<polyline") == 2 and chart.count('class="ring other"') in range(20, 26)
    assert chart.count('class="picked"') == chart.count('class="chosen"') == 1
    drawn = "".join(re.findall(r'points="[^"]*"', chart))
    places = [float(place) for place in re.findall(r"-?\d+\.\d", drawn)]
    assert places and min(places) >= 0 and max(places) <= 1000
    bare = str(learning_chart("probe", times, error, error, (0.0, 1.0)))
    assert "ring" not in bare and "picked" not in bare
