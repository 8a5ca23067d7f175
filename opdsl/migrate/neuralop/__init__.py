"""Models of neuraloperator as programs: `opdsl import neuralop`, `opdsl.from_neuralop`.

    call, config, checkpoint, module --calls--> ConstructorCall
    --architectures--> Draft --importing--> Imported: a program, and our weights

`models` has one file for each architecture. Files of neuraloperator are read without importing it
and without running any of its code. Where its result is wrong, a draft keeps the fault, because the
weights were trained under it, unless `corrected` is set; its notes say so either way.
"""

from opdsl.migrate.neuralop.calls import read_call
from opdsl.migrate.neuralop.draft import ConstructorCall
from opdsl.migrate.neuralop.importing import Imported, from_neuralop, import_call

__all__ = ["ConstructorCall", "Imported", "from_neuralop", "import_call", "read_call"]
