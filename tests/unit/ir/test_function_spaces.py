from fractions import Fraction

import pytest
from pydantic import ValidationError

from opdsl.ir.axes import Axis
from opdsl.ir.spaces import Domain, Space
from opdsl.ir.steps import Coarsen, Extend


def grid(*names, **axis):
    return Domain(name="D", axes=tuple(Axis(name=x, **axis) for x in names or ("x",)))


def extension(**more):
    return Extend(**({"name": "E", "numerator": 1, "denominator": 4} | more))


def test_coarsening_twice_is_coarsening_by_the_product():
    assert grid().coarsened(2).coarsened(3) == grid().coarsened(6)


def test_coarsening_by_one_is_nothing():
    assert grid().coarsened(1) == grid()


def test_domains_are_equal_by_declaration_and_steps_not_by_size():
    other = grid().model_copy(update={"name": "E"})
    assert grid() != other
    assert grid().coarsened(2) != grid().coarsened(4)
    assert grid().extended(extension()) != grid().extended(extension(name="F"))


@pytest.mark.parametrize("n", [1, 7, 8, 33, 100])
@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_coarsening_is_division_without_rest(n, factor):
    assert grid().coarsened(factor).points_on(0, n) == n // factor


@pytest.mark.parametrize("n", range(1, 40))
def test_quartering_at_once_and_by_halves_gives_as_many_points(n):
    # floor(floor(n / 2) / 2) = floor(n / 4): what allows to merge the steps
    assert grid().coarsened(4).points_on(0, n) == (n // 2) // 2


PARTS = [(1, 2), (3, 4), (4, 5), (5, 7), (8, 10), (9, 12)]


@pytest.mark.parametrize(("n", "points"), PARTS)
def test_an_extension_of_a_ring_adds_a_part_of_its_points_rounded_up(n, points):
    assert grid(boundary="periodic").extended(extension()).points_on(0, n) == points


@pytest.mark.parametrize(("n", "points"), [(n + 1, max(p, n + 1)) for n, p in PARTS])
def test_an_extension_of_an_interval_adds_a_part_of_its_spacings(n, points):
    assert grid().extended(extension()).points_on(0, n) == points


@pytest.mark.parametrize("n", [1, 5, 12, 13, 15, 16, 25, 35, 50])
@pytest.mark.parametrize("part", ["0.1", "0.07", "0.25", "0.35", "1"])
def test_what_is_added_on_each_side_may_be_rounded_to_the_nearest(n, part):
    """As Python rounds a product of floats, which is what other libraries do."""
    whole = Fraction(part) * 2
    longer = {"numerator": whole.numerator, "denominator": whole.denominator}
    step = extension(**longer, sides="both", rounding="nearest")
    found = grid(boundary="periodic").extended(step).points_on(0, n)
    assert found == n + 2 * round(float(part) * n)


def test_axes_may_be_extended_by_different_parts():
    step = extension(numerator=(0, 1, 2), denominator=4)
    ring = grid("x", "y", "z", boundary="periodic").extended(step)
    assert ring.points((8, 8, 9)) == (8, 10, 14)


@pytest.mark.parametrize("n", [5, 9, 17, 129])
def test_the_period_of_an_extended_interval_is_the_same_at_every_resolution(n):
    assert grid().extended(extension()).points_on(0, n) * (1 / (n - 1)) == 1.25


DERIVED = {
    "D": grid(),
    "D/3": grid().coarsened(3),
    "E": grid().extended(extension()),
    "E/2": grid().extended(extension()).coarsened(2),
    "E of D/2": grid().coarsened(2).extended(extension(numerator=3, denominator=7)),
}


@pytest.mark.parametrize("domain", DERIVED.values(), ids=DERIVED)
@pytest.mark.parametrize("needed", [1, 2, 5, 17, 33, 64, 100])
def test_the_least_root_is_the_first_size_that_gives_enough_points(domain, needed):
    searched = next(n for n in range(1, 1000) if domain.points_on(0, n) >= needed)
    assert domain.least_root(0, needed) == searched


@pytest.mark.parametrize("domain", DERIVED.values(), ids=DERIVED)
def test_a_finer_declared_grid_never_gives_fewer_points(domain):
    points = [domain.points_on(0, n) for n in range(1, 200)]
    assert points == sorted(points)


@pytest.mark.parametrize(
    ("domain", "label", "atom"),
    [
        (grid(), "D", "D.x"),
        (grid().coarsened(2), "D/2", "(D.x//2)"),
        (grid().extended(extension()), "E", "E.x"),
        (grid().extended(extension()).coarsened(2), "E/2", "(E.x//2)"),
        (grid().coarsened(2).extended(extension()), "E", "E.x"),
    ],
)
def test_a_domain_is_named_as_the_program_names_it(domain, label, atom):
    assert (domain.label, str(domain), domain.atom(0)) == (label, label, atom)


def test_the_name_of_a_domain_is_not_that_of_the_one_it_was_made_from():
    half = grid().coarsened(2)
    assert half.label == "D/2"  # asked first: a remembered answer must not travel with a copy
    assert half.root.label == "D"
    assert half.coarsened(2).label == "D/4"


def test_an_extension_is_periodic_whatever_its_axes_are():
    assert grid("x", "y").extended(extension()).periodic == (True, True)
    mixed = Domain(name="D", axes=(Axis(name="x", boundary="periodic"), Axis(name="y")))
    assert mixed.periodic == (True, False)
    assert mixed.coarsened(2).periodic == (True, False)


def test_the_step_over_a_domain_is_found_if_it_is_one():
    d, step = grid(), extension()
    e = d.extended(step)
    assert e.extension_over(d) == (step,)
    assert e.coarsened(2).extension_over(d) is None
    assert d.extension_over(d) is None
    assert d.coarsened(2).extended(step).extension_over(d) is None
    assert e.extension_over(d.model_copy(update={"name": "F"})) is None


@pytest.mark.parametrize(
    ("axis", "least"),
    [
        ({}, 1),
        ({"min": 33}, 33),
        ({"min": 33, "multiple_of": 4}, 36),
        ({"multiple_of": 4}, 4),
        ({"min": 8, "fixed": 64}, 64),
        ({"min": 8, "size": 32}, 32),
    ],
)
def test_the_least_promised_resolution_respects_every_promise(axis, least):
    assert Axis(name="x", **axis).least == least


def test_an_axis_is_pinned_by_a_fixed_or_given_size():
    assert [Axis(name="x", **x).pinned for x in ({}, {"fixed": 3}, {"size": 3})] == [
        False,
        True,
        True,
    ]


def test_the_root_has_no_steps():
    assert DERIVED["E of D/2"].root == grid()


def test_a_space_prints_as_in_mathematics():
    assert str(Space(domain=grid().coarsened(2), channels=3)) == "D/2 -> R^3"


def test_other_channels_have_no_names_and_another_domain_keeps_them():
    space = Space(domain=grid(), channels=2, components=("u", "v"))
    assert space.with_channels(5) == Space(domain=grid(), channels=5)
    assert space.on(grid().coarsened(2)).components == ("u", "v")


def test_a_sample_has_channels_times_points_numbers():
    space = Space(domain=grid("x", "y").coarsened(2), channels=3)
    assert space.numbers().at({"(D.x//2)": 5, "(D.y//2)": 7}) == 105


def test_spaces_go_through_json():
    space = Space(domain=grid("x", "y").coarsened(2).extended(extension()), channels=3)
    assert Space.model_validate_json(space.model_dump_json()) == space


def test_a_domain_cannot_be_changed():
    with pytest.raises(ValidationError):
        grid().name = "E"
    assert isinstance(grid().coarsened(2).steps[0], Coarsen)
