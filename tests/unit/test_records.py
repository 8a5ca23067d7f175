"""Records are equal to themselves, values by content; both print their fields."""

from dataclasses import field, replace

from opdsl.records import record, value


@record
class Place:
    name: str
    depth: int = 0


@value
class Text:
    name: str
    text: str = field(default="", repr=False)


def test_a_record_is_equal_to_itself_only():
    one = Place("a")
    assert one == one  # noqa: PLR0124  that is the point
    assert one != Place("a")
    assert replace(one, depth=1).depth == 1


def test_values_with_equal_fields_are_equal_and_hash_alike():
    assert Text("a", "b") == Text("a", "b")
    assert Text("a", "b") != Text("a", "c")
    assert len({Text("a"), Text("a"), Text("b")}) == 2


def test_both_print_their_fields_but_those_left_out():
    assert repr(Place("a", 2)) == "Place(name='a', depth=2)"
    assert repr(Text("a", "long")) == "Text(name='a')"
