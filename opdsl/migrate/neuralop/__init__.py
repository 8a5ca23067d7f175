"""Models of neuraloperator as programs: `opdsl import neuralop`, `opdsl.from_neuralop`.

    call, config, checkpoint, module --calls--> Call --architectures--> Draft --importing-->
    Imported: a program, and our weights

One file for each architecture. What comes in is read without importing neuralop, and without
running anything of it. Where its result is wrong, a draft keeps the fault, because the weights were
trained under it, unless asked to correct it, and its notes say so either way.
"""

from opdsl.migrate.neuralop.calls import read_call
from opdsl.migrate.neuralop.draft import Call
from opdsl.migrate.neuralop.importing import Imported, from_neuralop, import_call

__all__ = ["Call", "Imported", "from_neuralop", "import_call", "read_call"]
