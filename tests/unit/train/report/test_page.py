"""The page and the lines that people read."""

import io
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest

from opdsl.cli.training_progress import LiveTable, PlainLines, progress
from opdsl.train.report.page import Picture, write_report
from opdsl.train.report.pictures import Cloud, Panel, curves_svg, fields_png
from opdsl.train.run.listener import RunPlan

EVIL = '<script>alert("x")</script>&'
PLAN = RunPlan(3, 1, 4, 20, "5 samples of d.h5", "cpu", "fp32", 1234)


def row(epoch=1, **more):
    valid = {"rel_l2": 0.125, "rel_h1": 0.5}
    made = {"epoch": epoch, "lr": 1e-3, "train_loss": 0.25, "valid": valid, "seconds": 1.5}
    return made | {"step": 4, "skipped": 0} | more


class Reader(HTMLParser):
    """Collects tags, attributes and words."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.urls, self.words = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.urls += [v for k, v in attrs if k in {"src", "href"}]

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def page(tmp_path):
    field = np.outer(np.arange(5.0), np.arange(7.0))
    path = write_report(
        tmp_path / "report.html",
        title=EVIL,
        subtitle=EVIL,
        diagram_svg=f"<svg xmlns='http://www.w3.org/2000/svg'>{EVIL}</svg>",
        spec=EVIL,
        certificate=EVIL,
        settings_rows=[(EVIL, EVIL, EVIL), ("batch", 16, "default")],
        history=[row(1, valid=None, tests={EVIL: {"rel_l2": 0.5}}), row(2)],
        selection=[EVIL],
        changes=[{"setting": EVIL, "before": EVIL}],
        table=[{"resolution": (5, 7), "samples": 3, "rel_l2": 0.0123456, EVIL: EVIL}],
        pictures=[Picture(EVIL, field, field + 1, None, {EVIL: field})],
        environment={EVIL: EVIL},
    )
    return path.read_text()


def test_nothing_that_a_user_wrote_becomes_markup(page):
    assert "script" not in Reader(page).tags
    assert "&lt;script&gt;" in page


def test_the_page_asks_for_nothing_from_outside(page):
    urls = Reader(page).urls
    assert urls
    assert all(u.startswith("data:image/") for u in urls)
    assert not re.search(r"https?://|url\(|@import", page)


def test_the_page_says_what_was_given(page):
    text = " ".join(Reader(page).words)
    for words in ("5 × 7", "0.01235", "rel. L2", "1 defaults", "Learning curves", "Environment"):
        assert words in text


def test_a_section_without_content_is_left_out(tmp_path):
    text = write_report(tmp_path / "r.html", title="t").read_text()
    assert "<h2>" not in text


def test_curves_are_one_svg_and_gaps_are_allowed():
    svg = curves_svg({"$a_b$": [(1, 0.5), (2, None), (3, 0.1)], "_hidden": []})
    assert ET.fromstring(svg).tag.endswith("svg")  # noqa: S314  our own text


@pytest.mark.parametrize("shape", [(9,), (4, 6), (3, 4, 5)])
def test_fields_of_any_dimension_are_drawn(shape):
    values = np.arange(float(np.prod(shape))).reshape(shape)
    png = fields_png([("truth", values), ("prediction", values * np.nan), ("error", values * 0)])
    assert png.startswith(b"\x89PNG")


# ---------------------------------------------------------------------------------- progress


def test_a_pipe_gets_one_plain_line_an_epoch():
    stream = io.StringIO()
    listener = progress(stream)
    assert isinstance(listener, PlainLines)
    listener.start(PLAN)
    listener.step(1, 1, 0.5)
    listener.epoch(row(skipped=2))
    listener.note("the disk is full")
    assert stream.getvalue().splitlines() == [
        "20 samples, 1,234 parameters, 4 steps an epoch, fp32 on cpu",
        "validation: 5 samples of d.h5",
        "epoch 1/3  train 0.25  valid 0.125  lr 0.001  1.5 s  2 steps skipped",
        "note: the disk is full",
    ]


def test_a_closed_pipe_does_not_stop_the_run():
    stream = io.StringIO()
    listener = PlainLines(stream)
    stream.close()
    listener.epoch(row())


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_a_table():
    stream = Terminal()
    listener = progress(stream)
    assert isinstance(listener, LiveTable)
    listener.start(PLAN)
    for epoch in (1, 2, 3):
        listener.step(epoch, 4, 0.5)
        listener.epoch(row(epoch, train_loss=None))
    listener.note("[bold] is not markup")
    listener.end()
    assert "0.125" in stream.getvalue()
    assert "[bold] is not markup" in stream.getvalue()


def test_functions_on_points_are_drawn_where_the_points_are():
    """The first coordinate as a function is brighter on the right; space has three sides."""
    generator = np.random.default_rng(0)
    plane, space = generator.random((400, 2)), generator.random((400, 3))
    one = _picture(fields_png([Panel("truth", plane[:, 0], Cloud(plane))]))
    tall = _picture(fields_png([Panel("truth", space[:, 0], Cloud(space))]))
    assert tall.shape[0] > 2 * one.shape[0]
    for image in (one, tall[: tall.shape[0] // 3]):
        left, right = np.array_split(image[:, : int(0.7 * image.shape[1])], 2, axis=1)
        assert _green(right) > _green(left) + 0.2


def test_triangles_between_points_are_filled():
    corners = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    cells = np.array([[0, 1, 2], [0, 2, 3]])
    filled = _picture(fields_png([Panel("truth", corners[:, 0], Cloud(corners, cells))]))
    dots = _picture(fields_png([Panel("truth", corners[:, 0], Cloud(corners))]))
    assert _coloured(filled).mean() > 5 * _coloured(dots).mean()


def _picture(png):
    import matplotlib.image

    return matplotlib.image.imread(io.BytesIO(png))[..., :3]


def _coloured(image):
    return image.max(-1) - image.min(-1) > 0.1


def _green(image):
    return image[_coloured(image)][:, 1].mean()
