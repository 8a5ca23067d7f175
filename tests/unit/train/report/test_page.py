"""The page and the lines that people read."""

import base64
import io
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from opdsl.cli.training_progress import LiveTable, PlainLines, progress
from opdsl.train.report.curves import curves_html
from opdsl.train.report.page import SetFigures, SpectrumFigure, write_report
from opdsl.train.report.samples import OutputFilm, SampleFigure, sample_html
from opdsl.train.report.series import Cloud, CurveSeries, PlotAxes, film
from opdsl.train.run.listener import RunPlan

EVIL = '<script>alert("x")</script>&'
PLAN = RunPlan(3, 1, 4, 20, "5 samples of d.h5", "cpu", "fp32", 1234)
X, Y = np.linspace(0, 2, 5), np.linspace(0, 1, 7)
LINE, PLANE = PlotAxes(("x",), (X,)), PlotAxes(("x", "y"), (X, Y))


def row(epoch=1, **more):
    valid = {"rel_l2": 0.125, "rel_h1": 0.5}
    made = {"epoch": epoch, "lr": 1e-3, "train_loss": 0.25, "valid": valid, "seconds": 1.5}
    return made | {"step": 4, "skipped": 0} | more


def shown(values, place=PLANE, name="u", labels=()):
    """A function with one frame, or with one for each label."""
    frames = list(values) if labels else [values]
    return film(CurveSeries(name, frames, place), labels)


def sample(values, place=PLANE, labels=(), name="u"):
    """A sample whose prediction is its truth plus one."""
    truth, prediction = (shown(x, place, name, labels) for x in (values, values + 1))
    return SampleFigure("worst: sample 3", outputs=[OutputFilm(name, truth, prediction)])


class Reader(HTMLParser):
    """Collects tags, attributes and words."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.urls, self.words, self.classes = [], [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.urls += [v for k, v in attrs if k in {"src", "href", "srcset"}]
        self.classes += [v for k, v in attrs if k == "class"]

    def handle_data(self, data):
        self.words.append(data)

    @property
    def images(self):
        """The images of the page."""
        return [Image.open(io.BytesIO(base64.b64decode(x.partition(",")[2]))) for x in self.urls]


@pytest.fixture
def page(tmp_path):
    field = np.outer(np.arange(5.0), np.arange(7.0))
    figure = SampleFigure(EVIL, [EVIL], [shown(field, name=EVIL)], sample(field, name=EVIL).outputs)
    spectrum = SpectrumFigure(EVIL, EVIL, {EVIL: [(1.0, 0.5), (2.0, 0.25)]})
    path = write_report(
        tmp_path / "report.html",
        title=EVIL,
        subtitle=EVIL,
        diagram_svg=f"<svg xmlns='http://www.w3.org/2000/svg'>{EVIL}</svg>",
        spec=EVIL,
        certificate=EVIL,
        settings_rows=[(EVIL, EVIL, EVIL), ("batch", 16, "default")],
        history=[row(1, valid=None, tests={EVIL: {"rel_l2": 0.5}}), row(2, terms={EVIL: 0.1})],
        selection=[EVIL],
        changes=[{"setting": EVIL, "before": EVIL}],
        errors=[{"resolution": (5, 7), "samples": 3, "rel_l2": 0.0123456, EVIL: EVIL}],
        sets=[SetFigures(EVIL, [EVIL], [figure], [spectrum])],
        parameters=[{"parameter": EVIL, "value": EVIL}],
        weights=[{"node": EVIL, "numbers": 1234}],
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
    assert "1,234" in text


def test_a_section_without_content_is_left_out(tmp_path):
    text = write_report(tmp_path / "r.html", title="t").read_text()
    assert "<h2>" not in text


def test_each_cell_names_its_column_for_narrow_screens(page):
    assert '<td data-label="rel. L2">0.01235</td>' in page


def test_a_cell_is_only_broken_where_it_is_too_long_for_a_line(tmp_path):
    environment = {"torch": "2.13.0", "fingerprint": 40 * "0"}
    text = write_report(tmp_path / "r.html", title="t", environment=environment).read_text()
    assert "<td>2.13.0</td>" in text
    assert f'<td class="long">{40 * "0"}</td>' in text
    style = text.partition("<style>")[2].partition("</style>")[0]
    assert "th, td { padding: 0.42rem 0.9rem 0.42rem 0; border-bottom" in style
    assert ".numbers th, .numbers td { text-align: right; white-space: nowrap; }" in style


def test_every_number_of_the_rows_has_a_chart():
    more = {"terms": {"rel_l2(u)": 0.3, "mse(f)": 0.1}, "grad_norm": 2.0, "scale": 1024.0}
    rows = [row(i, weights={"mse(f)": 0.5}, **more) for i in (1, 2, 3)]
    text = curves_html(rows)
    assert text.count("<svg") == 6
    for words in ("rel_l2(u)", "mse(f)", "norm of the gradient", "learning rate", "weights"):
        assert words in text


def test_rows_of_a_stranger_are_gaps_and_no_traceback():
    rows = [row(1, terms=[1], grad_norm="x", weights={"a": {}}, scale=True), row(2, lr=None)]
    text = curves_html(rows)
    assert text.count("<svg") == 2  # the losses and the learning rate


def test_a_channel_has_truth_prediction_and_error_as_images_of_its_points():
    values = np.arange(35.0).reshape(5, 7)
    truth, prediction, error = Reader(sample_html(sample(values))).images
    assert truth.size == prediction.size == error.size == (5, 7)
    # x goes across and y up: the greatest value is at the top right
    shades = np.asarray(truth)
    assert shades[0, -1] == shades.max()
    assert shades[-1, 0] == shades.min() == 0


def test_the_colours_of_an_error_are_symmetric_around_zero():
    text = sample_html(sample(np.arange(35.0).reshape(5, 7)))
    assert "<span>-1</span><span>1</span>" in text
    assert "<span>0</span><span>34</span>" in text


def test_values_that_are_missing_have_a_colour_of_their_own():
    values = np.arange(35.0).reshape(5, 7)
    values[2, 3] = np.nan
    truth = np.asarray(Reader(sample_html(sample(values))).images[0])
    assert (truth == 255).sum() == 1
    assert truth[3, 2] == 255


def test_a_rollout_is_a_film_strip_and_an_animation():
    values = np.arange(9 * 35.0).reshape(9, 5, 7)
    reader = Reader(sample_html(sample(values, labels=[f"step {i + 1}" for i in range(9)])))
    assert reader.classes.count("frame") == 6
    strip, (still, moving) = reader.images[:18], reader.images[18:]
    assert all(x.size == (5, 7) for x in strip)
    assert (getattr(still, "n_frames", 1), moving.n_frames) == (1, 9)
    text = " ".join(reader.words)
    assert "step 1" in text
    assert "step 9" in text


def test_a_film_strip_has_one_scale_for_all_times():
    values = np.stack([np.full((5, 7), float(i)) for i in range(3)])
    reader = Reader(sample_html(sample(values, labels=["a", "b", "c"]), animated=False))
    truths = [np.asarray(x).max() for x in reader.images[::3]]
    assert truths == [0, 127, 254]


def test_outputs_without_a_truth_show_their_prediction_alone():
    values = np.arange(35.0).reshape(5, 7)
    reader = Reader(sample_html(SampleFigure("first: sample 0", predictions=[shown(values)])))
    assert len(reader.images) == 1
    assert "predictions, without a truth" in reader.words


def test_functions_of_one_variable_are_curves_with_numbers():
    text = sample_html(sample(np.arange(5.0), LINE))
    svgs = re.findall(r"<svg.*?</svg>", text)
    assert len(svgs) == 2  # truth with prediction, and the error
    assert all(ET.fromstring(x).tag == "svg" for x in svgs)  # noqa: S314  our own text
    assert svgs[0].count("<polyline") == 2


def test_the_third_axis_of_a_grid_becomes_a_film_and_further_ones_are_cut():
    lines = (X, Y, np.linspace(0, 3, 4), np.linspace(0, 1, 3))
    place = PlotAxes(("x", "y", "z", "t"), lines)
    values = np.random.default_rng(0).random((5, 7, 4, 3))
    shown_film = film(CurveSeries("u", [values], place))
    assert shown_film.labels == ("t = 0", "t = 0.5", "t = 1")
    assert shown_film.cuts == ("z = 2",)
    np.testing.assert_array_equal(shown_film.series.frames[1], values[:, :, 2, 1])


def test_a_large_grid_is_averaged_over_blocks_of_points():
    n = 400
    x = np.linspace(0, 1, n)
    place = PlotAxes(("x", "y"), (x, x))
    values = np.repeat(np.arange(n)[:, None] // 3 * 1.0, n, 1)  # constant in blocks of 3
    image = Reader(sample_html(sample(values, place))).images[0]
    assert image.size == (134, 134)
    shades = np.asarray(image)[0].astype(int)
    assert (np.diff(shades) >= 0).all()
    assert (shades[0], shades[-1]) == (0, 254)


@pytest.mark.parametrize("labels", [(), ("a", "b")])
def test_functions_on_points_are_drawn_where_the_points_are(labels):
    """The first coordinate as a function is brighter on the right; space has three sides."""
    generator = np.random.default_rng(0)
    plane, space = generator.random((400, 2)), generator.random((400, 3))

    def drawn(points):
        values = np.stack([points[:, 0]] * max(1, len(labels)))
        made = sample(values if labels else values[0], Cloud(points), labels)
        return np.asarray(Reader(sample_html(made)).images[0].convert("RGB")) / 255

    one, tall = drawn(plane), drawn(space)
    assert tall.shape[0] > 2 * one.shape[0]
    for image in (one, tall[: tall.shape[0] // 3]):
        left, right = np.array_split(image, 2, axis=1)
        assert _green(right) > _green(left) + 0.2


def test_triangles_between_points_are_filled():
    corners = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    cells = np.array([[0, 1, 2], [0, 2, 3]])

    def drawn(place):
        return np.asarray(Reader(sample_html(sample(corners[:, 0], place))).images[0]) / 255

    filled, dots = drawn(Cloud(corners, cells)), drawn(Cloud(corners))
    assert _coloured(filled).mean() > 5 * _coloured(dots).mean()


def _coloured(image):
    return image.max(-1) - image.min(-1) > 0.1


def _green(image):
    return image[_coloured(image)][:, 1].mean()


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
