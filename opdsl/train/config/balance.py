"""The section of the settings about adaptive weights of the terms of a loss."""

from typing import Annotated, Literal

from opdsl.train.config.section import FIXED, AtLeastOne, Fraction, Momentum, Positive, Section


class BalanceSettings(Section):
    """`balance relobralo { temperature = 0.1 }`: weights that follow from the terms of the loss.

    They are factors beside those of the expression, and their sum is the number of terms.

    Attributes:
        kind: `relobralo` weighs a term more the less it has fallen, since the last step and since
            the first; `softadapt` the faster it rises. `none` leaves the weights of the
            expression.
        temperature: of the softmax over the ratios of terms (`relobralo`): 0 weighs the slowest
            term alone, large values weigh all alike.
        smoothing: part of the weights that a step leaves (`relobralo`).
        lookback: probability that the older weights are those of the last step and not those since
            the first one (`relobralo`).
        beta: how strongly rates of change count (`softadapt`).
        every: steps whose means are compared (`softadapt`).
    """

    kind: Annotated[Literal["none", "relobralo", "softadapt"], FIXED] = "none"
    temperature: Annotated[Positive, FIXED] = 0.1
    smoothing: Annotated[Momentum, FIXED] = 0.999
    lookback: Annotated[Fraction, FIXED] = 0.999
    beta: Annotated[Positive, FIXED] = 0.1
    every: Annotated[AtLeastOne, FIXED] = 10
