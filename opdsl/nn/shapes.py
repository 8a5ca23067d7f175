"""Types of shapes and coordinates that several layers share."""

Size = tuple[int, ...]  # points of a grid on each axis
AxisValues = tuple[float, ...]  # one length or coordinate for each axis
# for each input and last for the result the points of each sample, None where not packed
RaggedSizes = tuple[Size | None, ...]
