"""The registry of codes: the subject of each, and the exit code of a command that reports it.

Every code here has a page `grammar/diagnostics/CODE.md`; a test ensures that.
"""

from enum import IntEnum
from typing import Literal

from opdsl.records import value

Level = Literal["allow", "warn", "deny"]
LEVELS: tuple[Level, ...] = ("allow", "warn", "deny")  # from the mildest on


class Exit(IntEnum):
    """Exit codes of every command; 128 + n after signal n."""

    OK = 0
    FAILED = 1
    USAGE = 2
    SPEC = 3
    DATA = 4
    TOO_LARGE = 5
    DIVERGED = 6
    INTERRUPTED = 130
    TERMINATED = 143


@value
class Code:
    """The subject of a diagnostic.

    Attributes:
        title: the problem in a few words.
        slug: the name of the code in comments, options and searches.
        exit: the exit code of a command that reports it.
        level: the default level of a warning about a program; errors have none.
    """

    title: str
    slug: str
    exit: Exit = Exit.SPEC
    level: Level | None = None


CODES: dict[str, Code] = {
    # syntax
    "OP0101": Code("unexpected word or sign", "syntax"),
    "OP0102": Code("invalid character or unterminated text", "bad-character"),
    "OP0103": Code("the file ends inside an open block", "unclosed"),
    "OP0104": Code("the edition is missing or unknown", "edition"),
    "OP0105": Code("the program is too large or too deeply nested", "limit"),
    "OP0106": Code("a reserved word is used as a name", "reserved"),
    "OP0107": Code("the construct is not supported here", "not-yet"),
    # names and parameters
    "OP0201": Code("a name is unknown", "unknown-name"),
    "OP0202": Code("an import is not found", "unknown-import"),
    "OP0203": Code("a name is bound twice", "rebound"),
    "OP0204": Code("an output is never computed", "missing-output"),
    "OP0205": Code("a required argument is missing", "missing-argument"),
    "OP0206": Code("wrong number of inputs", "arity"),
    "OP0207": Code("a block has no such parameter", "unknown-parameter"),
    "OP0208": Code("a parameter has an invalid value", "bad-value"),
    "OP0209": Code("a value has the wrong kind", "kind-of-value"),
    "OP0210": Code("no model, or an ambiguous or unknown one", "which-model"),
    "OP0211": Code("blocks, constants or imports depend on themselves", "recursion"),
    "OP0212": Code("the program exceeds the evaluation budget", "budget"),
    # spaces
    "OP0301": Code("the operator is not defined on this kind of domain", "domain-kind"),
    "OP0302": Code("the graph has a cycle", "cycle"),
    "OP0303": Code("numbers or names of channels differ", "channels"),
    "OP0304": Code("functions on different domains are combined", "domains-differ"),
    "OP0305": Code("an annotation is wrong", "annotation"),
    "OP0306": Code("a repeat with shared weights changes the space", "shared-repeat"),
    "OP0307": Code("an operator would fix the resolution", "hidden-pin"),
    "OP0308": Code("the number of modes differs from the number of axes", "mode-arity"),
    "OP0309": Code("too many modes for the promised resolution", "too-many-modes"),
    "OP0310": Code("a latent domain has no size", "latent-size"),
    "OP0311": Code("an operator needs the same points in every sample", "batching"),
    "OP0312": Code("real and complex functions are mixed", "reality"),
    "OP0313": Code("the domains are unrelated", "unrelated-domains"),
    "OP0320": Code("a requirement of a block is not met", "require"),
    "OP0321": Code("a condition at an end that the axis does not have", "no-ends"),
    "OP0322": Code("the points of an axis do not carry the functions on it", "sampling"),
    "OP0323": Code("a basis contradicts the boundary", "basis-boundary"),
    "OP0324": Code("an output need not do what it declares at its ends", "unmet-ends"),
    # warnings
    "OP0401": Code("a node is never used", "unused-node", level="warn"),
    "OP0402": Code("an input is never used", "unused-input", level="warn"),
    "OP0403": Code("a parameter is never used", "unused-parameter", level="warn"),
    "OP0404": Code("a domain or dim is never used", "unused-domain", level="warn"),
    "OP0405": Code("an import is never used", "unused-import", level="warn"),
    "OP0406": Code("a constant is never used", "unused-constant", level="warn"),
    "OP0409": Code("this `allow` comment suppresses nothing", "useless-allow", level="warn"),
    "OP0410": Code("a comment names an unknown warning", "unknown-warning", level="warn"),
    "OP0411": Code(
        "a Fourier layer on an axis that is not periodic", "fourier-on-nonperiodic", level="warn"
    ),
    "OP0412": Code(
        "a model runs at every resolution but does not converge", "not-convergent", level="warn"
    ),
    "OP0413": Code(
        "a factorised weight is larger than the dense one", "rank-exceeds-dense", level="warn"
    ),
    "OP0414": Code(
        "weights for frequencies that the input does not have", "dead-weights", level="warn"
    ),
    "OP0415": Code(
        "a character changes the order in which the text is shown",
        "bidirectional-text",
        level="warn",
    ),
    "OP0416": Code("all tokens of an attention are equal", "equal-tokens", level="warn"),
    "OP0417": Code("a basis lowers the order of convergence", "lower-order", level="warn"),
    # graph files
    "OP0501": Code("a graph file cannot be read", "bad-graph"),
    # settings, data and training
    "OP0602": Code("the program has no train block or lacks a setting", "no-train", Exit.SPEC),
    "OP0603": Code("a setting is unknown", "unknown-setting", Exit.SPEC),
    "OP0604": Code("a setting has an invalid value", "bad-setting", Exit.SPEC),
    "OP0605": Code("a settings file cannot be read", "bad-config", Exit.USAGE),
    "OP0610": Code("a data file cannot be read", "unreadable-data", Exit.DATA),
    "OP0611": Code("a data file lacks a field", "missing-field", Exit.DATA),
    "OP0612": Code("the data hold NaN or infinite values", "not-finite", Exit.DATA),
    "OP0613": Code("the data do not fit the model", "data-shape", Exit.DATA),
    "OP0614": Code("the data have no such resolution", "data-resolution", Exit.DATA),
    "OP0615": Code("a data file links to other files", "unsafe-data", Exit.DATA),
    "OP0616": Code("some samples look corrupt", "suspect-samples", Exit.DATA),
    "OP0617": Code("generated data fail their verification", "bad-generation", Exit.FAILED),
    "OP0618": Code("the geometry does not support this operation", "bad-geometry", Exit.DATA),
    "OP0619": Code("values are outside the range of float32", "float32-range", Exit.DATA),
    "OP0620": Code("training diverged", "diverged", Exit.DIVERGED),
    "OP0621": Code("a checkpoint is damaged", "bad-checkpoint", Exit.FAILED),
    "OP0622": Code("the device does not support this precision", "precision", Exit.USAGE),
    "OP0623": Code("the device is not available", "device", Exit.USAGE),
    "OP0624": Code("the run folder is in use or not empty", "run-folder", Exit.USAGE),
    "OP0625": Code("a file could not be written", "write-failed", Exit.FAILED),
    "OP0626": Code("the run belongs to another program", "other-program", Exit.SPEC),
    "OP0627": Code("this folder is not a run", "not-a-run", Exit.USAGE),
    "OP0628": Code("a run folder contains a link", "linked-run", Exit.USAGE),
    "OP0629": Code("a setting cannot change when a run is resumed", "fixed-setting", Exit.USAGE),
    "OP0630": Code("the model does not fit into memory", "too-large", Exit.TOO_LARGE),
    "OP0631": Code("the truth of some samples is zero", "zero-truth", Exit.DATA),
    "OP0645": Code(
        "an optional package or compiler is not installed", "missing-package", Exit.USAGE
    ),
    "OP0641": Code("a model of another library cannot be expressed", "not-importable", Exit.SPEC),
    "OP0642": Code("a call or config of another library cannot be read", "bad-call", Exit.USAGE),
    "OP0643": Code("weights of another library do not fit", "bad-weights", Exit.DATA),
    "OP0650": Code("the model cannot be exported", "not-exportable", Exit.SPEC),
    "OP0651": Code("an exported file differs from the model", "export-differs", Exit.FAILED),
    "OP0652": Code("the model cannot be applied in tiles", "no-tiles", Exit.SPEC),
    "OP0653": Code("the data contradict the condition at an end", "end-conditions", Exit.DATA),
    "OP0654": Code("the data do not have a declared symmetry", "asymmetric-data", Exit.DATA),
    "OP0655": Code("a symmetry does not fit the model", "bad-symmetry", Exit.SPEC),
    "OP0656": Code("interpolation is better than the model", "interpolation-better", Exit.DATA),
    "OP0657": Code(
        "the coordinates of a file are not those of the domain", "other-coordinates", Exit.DATA
    ),
    "OP0658": Code(
        "the boundary conditions of a file contradict the domain", "other-boundary", Exit.DATA
    ),
    "OP0659": Code("the rows of a sphere begin in the south", "south-first", Exit.DATA),
    "OP0660": Code("no array for an input or output", "no-array", Exit.DATA),
    "OP0661": Code("the axes of an array are unclear", "unclear-axes", Exit.DATA),
    "OP0662": Code("trajectories shorter than a window", "short-trajectories", Exit.DATA),
    "OP0663": Code("a reference names no array", "bad-reference", Exit.DATA),
    "OP0664": Code("a published layout is assumed", "assumed-layout", Exit.DATA),
    "OP0670": Code("statistics of points that samples do not share", "point-statistics", Exit.DATA),
    "OP0671": Code("a map is not defined for a value", "map-domain", Exit.DATA),
    "OP0672": Code("statistics or maps break a symmetry", "broken-symmetry", Exit.USAGE),
    "OP0673": Code("a grid cannot be resampled", "no-resampling", Exit.DATA),
    "OP0680": Code("values are missing", "missing-values", Exit.DATA),
    "OP0681": Code("a mask does not fit", "bad-mask", Exit.DATA),
    "OP0682": Code("samples are masked everywhere", "masked-samples", Exit.DATA),
    "OP0683": Code("masked values do not suit the run", "masks-refused", Exit.SPEC),
    "OP0684": Code("queries cannot be grouped", "no-groups", Exit.DATA),
    "OP0685": Code("a file has another layout", "other-layout", Exit.DATA),
    "OP0730": Code("a path names no weight", "no-weight", Exit.USAGE),
    "OP0731": Code("settings exclude each other", "excluding-settings", Exit.USAGE),
    "OP0640": Code("no program to lay out a graph is installed", "no-graphviz", Exit.USAGE),
    "OP0850": Code("a step exceeds the limit of memory", "memory-limit", Exit.TOO_LARGE),
    "OP0851": Code("the memory of a step cannot be planned", "unplanned-memory", Exit.USAGE),
    "OP0740": Code("a callback does not fit", "bad-callback", Exit.USAGE),
    "OP0741": Code("a callback raised an exception", "failed-callback", Exit.FAILED),
    "OP0743": Code("an axis of a sweep is wrong", "bad-axis", Exit.USAGE),
    "OP0744": Code("the folder belongs to another sweep", "other-sweep", Exit.USAGE),
    "OP0745": Code("a sweep has no data to choose by", "no-choice", Exit.USAGE),
    "OP0746": Code("a trial before training failed", "failed-trial", Exit.FAILED),
    "OP0690": Code("a process of a generator ended", "lost-worker", Exit.FAILED),
    "OP0770": Code("there are too few runs to compare", "too-few-runs", Exit.USAGE),
    # losses
    "OP0700": Code("a loss names what the model does not have", "loss-name"),
    "OP0701": Code("a loss has no such function", "loss-function"),
    "OP0702": Code("a function of a loss has other arguments", "loss-argument"),
    "OP0703": Code("a derivative or integral does not exist", "no-derivative"),
    "OP0704": Code("an error does not exist on this domain", "no-error"),
    "OP0705": Code("functions in a loss do not fit each other", "loss-spaces"),
    "OP0706": Code("a loss is no sum of errors", "no-loss"),
    "OP0707": Code("a function of Python is no loss", "python-loss"),
    "OP0708": Code("an equation cannot be used", "equation"),
    "OP0709": Code("the loss of a run has to be passed again", "missing-loss"),
    # equations, adaptive weights, adaptation
    "OP0720": Code("the domain has no such derivative", "physics-derivative", Exit.DATA),
    "OP0721": Code("a function does not depend on the coordinates of its points", "no-coordinates"),
    "OP0722": Code("a run without solutions needs the truth", "missing-truth"),
    "OP0723": Code("adaptive weights of a loss with one term", "balance"),
    "OP0724": Code("no equation to adapt a run by", "no-equation"),
    # publishing, compression, precision of nodes
    "OP0760": Code("this folder is not a published model", "not-published", Exit.USAGE),
    "OP0761": Code("a published file differs from its hash", "changed-file", Exit.FAILED),
    "OP0762": Code("nothing that can be compressed", "not-compressible", Exit.SPEC),
    "OP0763": Code("a decomposition or rank does not fit", "bad-rank", Exit.USAGE),
    "OP0764": Code("precisions of nodes do not fit the model", "node-precision", Exit.SPEC),
    # several processes
    "OP0800": Code("the processes cannot be divided", "bad-mesh", Exit.USAGE),
    "OP0801": Code("more processes than samples in a batch", "few-samples", Exit.USAGE),
    "OP0802": Code("the processes of a run disagree", "processes-disagree", Exit.USAGE),
    "OP0803": Code("a port is in use", "port-in-use", Exit.USAGE),
    "OP0804": Code("a process has not arrived", "missing-process", Exit.FAILED),
    "OP0805": Code("a process of a run is gone", "lost-process", Exit.FAILED),
    "OP0806": Code("a setting does not work in several processes", "alone-only", Exit.USAGE),
    "OP0807": Code("more processes than fit a machine", "few-devices", Exit.USAGE),
    # several processes for one sample
    "OP0820": Code("a block cannot be computed on parts of the grid", "not-shardable"),
    "OP0821": Code("an axis has fewer points than processes", "too-many-processes", Exit.USAGE),
    "OP0822": Code("there is no such axis to divide", "no-axis-to-divide", Exit.USAGE),
    # checkpoints of several processes
    "OP0840": Code("processes do not share the run folder", "separate-folders", Exit.FAILED),
    # multi-grid domain decomposition
    "OP0860": Code("the model cannot be divided into patches", "not-patchable", Exit.SPEC),
    "OP0861": Code("a block does not accept the channels of levels", "levels", Exit.SPEC),
    "OP0862": Code("a patch has too few points", "small-patches", Exit.DATA),
    "OP0863": Code("patches exclude this operation", "patches-excluded", Exit.SPEC),
    "OP0864": Code("there are more processes than patches", "few-patches", Exit.USAGE),
    # run time
    "OP0901": Code("an input has the wrong number of axes", "input-axes", Exit.DATA),
    "OP0902": Code("an input has the wrong number of channels", "input-channels", Exit.DATA),
    "OP0903": Code("an input breaks the promised resolution", "input-resolution", Exit.DATA),
    "OP0904": Code("the inputs do not fit those of the model", "inputs", Exit.DATA),
    "OP0905": Code("an input has the wrong number format", "input-dtype", Exit.DATA),
    "OP0906": Code("two inputs on one domain differ in size", "input-sizes", Exit.DATA),
    "OP0907": Code("coordinates or a static field have the wrong shape", "asked-shape", Exit.DATA),
    "OP0908": Code("a query point has no neighbours", "no-neighbours", Exit.DATA),
    "OP0909": Code("query points have too many neighbours", "many-neighbours", Exit.DATA),
    "OP0910": Code("quadrature weights of points cannot be computed", "no-weights", Exit.DATA),
    "OP0911": Code("a point index is out of range", "strange-number", Exit.DATA),
    "OP0920": Code("weights of a run without their normaliser", "bare-weights", Exit.DATA),
}
