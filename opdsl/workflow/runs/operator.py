"""A trained module as an operator between functions in physical units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from opdsl.lower.module import OperatorModule, Result
from opdsl.nn.points.batch import Values, all_values
from opdsl.nn.points.packed import Packed
from opdsl.train.scaling.normalise import Normaliser
from opdsl.train.scaling.scales import PointScale, SampleScale, Scale

if TYPE_CHECKING:
    from opdsl.ir.graph import Graph


class Operator(nn.Module):
    """The map from physical inputs to physical outputs, at every promised resolution.

    It is called as the module of the program is. Its `state_dict` has the weights as `module.*` and
    the means and deviations of the training data as `normaliser.*`.

    Attributes:
        module: takes and gives normalised values.
        normaliser: of the run that trained it.
    """

    def __init__(self, module: OperatorModule, normaliser: Normaliser) -> None:
        super().__init__()
        self.module, self.normaliser = module, normaliser

    @property
    def graph(self) -> Graph:
        """The program of the module."""
        return self.module.graph

    def forward(self, /, *inputs: Tensor | Packed, **named: Any) -> Result:
        """Return the outputs in physical units: a tensor if there is one, else a dict by name.

        Args:
            inputs: (batch, channels, *grid) in physical units, in the order of the model's inputs.
            named: the same by name; coordinates of points by the name of their domain.

        Raises:
            OpError: OP0901 to OP0907, the inputs do not fit the program.
        """
        arguments = self.module.guards.by_name(inputs, named)
        result = self.module(**{k: self._normalised(k, x) for k, x in arguments.items()})
        functions = {k: x for k, x in arguments.items() if isinstance(x, Tensor | Packed)}
        outputs: dict[str, Tensor | Packed] = self.normaliser.decode(
            self._by_name(result), functions
        )
        return outputs if isinstance(result, dict) else outputs.popitem()[1]

    def draw(self, name: str, x: Tensor) -> Tensor:
        """Draw physical values of an input that are standard normal once normalised."""
        return self.normaliser.typical_values(name, x)

    def _normalised(self, name: str, x: Any) -> Any:
        """Normalise an input; one that does not fit the scale is left for the module to refuse."""
        scale = self.normaliser.input_scale(name)
        if scale is None or not isinstance(x, Tensor | Packed) or not _fits(scale, x):
            return x
        return self.normaliser.encode_one(name, x)

    def _by_name(self, result: Result) -> dict[str, Values]:
        return result if isinstance(result, dict) else {self.graph.outputs[0].name: result}


def _fits(scale: Scale, x: Values) -> bool:
    y = all_values(x)
    statistics = scale.size if isinstance(scale, SampleScale) else scale.mean
    axes = scale.mean.ndim + 1 if isinstance(scale, PointScale) else y.ndim
    alike = 1 < y.ndim == axes and y.shape[1] == len(statistics) and y.device == statistics.device
    return alike and (y.dtype.is_floating_point or y.dtype.is_complex)
