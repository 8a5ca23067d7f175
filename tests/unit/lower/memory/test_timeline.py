"""The predicted peak of passes, for chains whose memory is counted by hand."""

from dataclasses import replace
from itertools import product

import pytest

from opdsl.lower.memory.segments import added_seconds, cheapest
from opdsl.lower.memory.timeline import StepEnds, StoredValue, UnitMemory, peak

NOTHING = StepEnds(0, 0, 0, 0, 0)
S = 100  # bytes of each value


def chain(count, **more):
    """Units that save their input and nothing else, such as layers of equal width."""
    return [
        UnitMemory(
            reads=((i, S),),
            result=StoredValue(i + 1, S),
            saved_values=(i,),
            saved=0,
            forward=S,
            discarding=S,
            differentiable=True,
            backward=S,
            gradients=((i, S),),
            seconds=1.0,
            **more,
        )
        for i in range(count)
    ]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_chain_that_keeps_everything_takes_every_value_and_two_gradients(count):
    # values 0 to n - 1 are saved, n is the output; behind it a gradient that the loss has made
    ends = replace(NOTHING, before=S, after=S)
    assert peak(chain(count), ends, outputs=[count]) == (count + 2) * S


def test_a_chain_that_is_recomputed_as_a_whole_takes_as_much_as_one_that_is_kept():
    ends = replace(NOTHING, before=S, after=S)
    kept = peak(chain(6), ends, outputs=[6])
    assert peak(chain(6), ends, ((0, 6),), outputs=[6]) == kept


def test_segments_of_a_chain_take_their_ends_and_one_segment():
    # 9 units in 3 segments: inputs of segments, the values in one, a gradient and its successor
    ends = replace(NOTHING, before=S, after=S)
    segments = ((0, 3), (3, 6), (6, 9))
    assert peak(chain(9), ends, segments, outputs=[9]) == (3 + 2 + 2) * S


def test_units_that_save_nothing_keep_nothing_alive_as_segments():
    units = [replace(x, saved_values=()) for x in chain(4)]
    every = tuple((i, i + 1) for i in range(4))
    assert peak(units, NOTHING, every, outputs=[4]) == peak(units, NOTHING, outputs=[4])


def test_saved_tensors_on_the_host_take_the_memory_of_one_unit():
    units = [replace(x, saved=1000, forward=S + 1000) for x in chain(5)]
    kept = peak(units, NOTHING, outputs=[5])
    host = peak(units, NOTHING, outputs=[5], offloaded=True)
    assert kept > 5000
    assert host < 1000 + 5 * S


def test_gradients_of_weights_stay_unless_they_are_added_to_others():
    units = [replace(x, weight_gradients=500, backward=S + 500) for x in chain(4)]
    first = peak(units, NOTHING, outputs=[4])
    later = peak(units, NOTHING, outputs=[4], accumulates=True)
    assert first - later == 3 * 500 - 2 * S  # the peak moves from the last unit to the first


def test_a_view_is_no_memory_of_its_own():
    first, second = chain(2)
    view = replace(
        second,
        result=StoredValue(2, 0, alias=1),
        saved_values=(),
        forward=0,
        backward=0,
        gradients=((1, 0),),
    )
    assert peak([first, view], NOTHING, outputs=[2]) == peak([first], NOTHING, outputs=[1])


def mixed(count):
    """A chain of layers that save different amounts and take different times."""
    sizes = [3, 1, 7, 2, 5, 4, 6, 1]
    return [
        replace(x, saved=100 * a, forward=S + 100 * a, seconds=1.0 + 0.1 * a)
        for x, a in zip(chain(count), sizes, strict=False)
    ]


def all_segments(count):
    """Every choice of disjoint segments of a schedule."""
    for marks in product("kbc", repeat=count):  # kept, begins a segment, continues one
        segments, valid = [], True
        for i, mark in enumerate(marks):
            if mark == "b":
                segments.append([i, i + 1])
            elif mark == "c":
                valid = bool(segments) and segments[-1][1] == i
                if not valid:
                    break
                segments[-1][1] = i + 1
        if valid:
            yield tuple(map(tuple, segments))


@pytest.mark.parametrize("part", [0.5, 0.6, 0.7, 0.8, 0.9, 0.97])
def test_the_cheapest_recomputation_is_near_the_best_of_all(part):
    units = mixed(6)

    def total(segments):
        return peak(units, NOTHING, segments, outputs=[6])

    limit = part * total(())
    fitting = [added_seconds(units, x) for x in all_segments(6) if total(x) <= limit]
    found, smallest = cheapest(units, total, limit)
    assert smallest.peak <= 1.1 * min(map(total, all_segments(6)))
    if not fitting:
        assert found is None
        return
    assert found is not None
    assert total(found.segments) == found.peak <= limit
    assert found.seconds <= 1.2 * min(fitting)


def test_nothing_is_recomputed_where_everything_fits():
    units = chain(4)
    found, _ = cheapest(units, lambda x: peak(units, NOTHING, x, outputs=[4]), 10**6)
    assert found.segments == ()
    assert found.seconds == 0
