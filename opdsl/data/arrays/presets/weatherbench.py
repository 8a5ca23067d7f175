"""Weather on latitudes and longitudes, in netCDF or zarr: WeatherBench, ERA5, NCEP.

Source: Rasp et al. 2020, arXiv:2002.00469; Rasp et al. 2024, arXiv:2308.15560 (WeatherBench 2).
"""

from opdsl.data.arrays.axes import CHANNEL, SYNONYMS, TIME, AxisNames
from opdsl.data.arrays.listing import ArrayInfo
from opdsl.data.arrays.presets import GRID, ArrayInfos, Preset, Proposal

LEVELS = ("level", "plev", "pressure_level", "isobaricinhpa")
PLACES = {"lat": GRID[0], "lon": GRID[1]}


def propose(arrays: ArrayInfos) -> Proposal | None:
    """Recognise variables on (time, [level,] lat, lon), in any order, by names of dimensions.

    Without a word after `data` only one variable is certain; several become channels.
    """
    axes = {k: y for k, x in arrays.items() if (y := _axes(x))}
    if not axes:
        return None
    coordinates = tuple(next((k for k in arrays if _word(k) == x), x) for x in PLACES)
    names = tuple(axes)
    return Proposal(names, names, axes, coordinates=coordinates, certain=len(names) == 1)


def _axes(info: ArrayInfo) -> AxisNames:
    """Return the axes of a variable; () if it is none on times, latitudes and longitudes."""
    words = [_word(x or "") for x in info.axes]
    axes = tuple(
        CHANNEL if x in LEVELS else PLACES.get(x, TIME if x in {TIME, "valid_time"} else "")
        for x in words
    )
    complete = {TIME, *PLACES.values()} <= set(axes) and "" not in axes
    return axes if complete and len(set(axes)) == len(axes) == len(info.shape) else ()


def _word(name: str) -> str:
    low = name.lower().rpartition("/")[2]
    return SYNONYMS.get(low, low)


PRESET = Preset(
    "variables of WeatherBench (Rasp et al. 2020)",
    propose,
    "variables whose dimensions are time, lat and lon, and perhaps level",
)
