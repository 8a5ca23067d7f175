"""`opdsl fingerprint`: the identity of a model as a hash."""

from __future__ import annotations

from opdsl.cli.console import result, show_json
from opdsl.cli.options import Json, Model, Parameters, Spec


def command(
    spec: Spec, model: Model = None, sets: Parameters = None, as_json: Json = False
) -> None:
    """Print the fingerprint of a model.

    Equal for programs that mean the same function of the same weights: names, comments, the order
    of statements and promised resolutions do not count. With --json also that of the run, which
    includes the settings of the train block.

    Example: opdsl fingerprint specs/fno_darcy.op
    """
    from opdsl.cli.files import open_checked
    from opdsl.workflow.texts import fingerprints

    hashes = fingerprints(open_checked(spec, model, sets), of_run=as_json)
    if as_json:
        show_json(hashes)
    else:
        result(hashes["function"])
