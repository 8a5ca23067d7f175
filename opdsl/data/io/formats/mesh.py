"""Mesh files of other programs, one sample each."""

from opdsl.data.derive.coarsen import refuse_on_points
from opdsl.data.io.data_file import DataFile
from opdsl.data.io.file_fields import FileFields
from opdsl.data.io.formats import Format, ReadOptions
from opdsl.data.io.mesh_set import as_fields
from opdsl.data.io.meshes import MESH_READERS, read_mesh


def read(file: DataFile, options: ReadOptions) -> FileFields:
    """Read one file as one sample of the domain `P`, on points of its own; roles are unknown.

    Raises:
        OpError: OP0610 the file is damaged; OP0612 a value is not finite; OP0614 a resolution is
            requested.
    """
    refuse_on_points(options.resolution, file.source)
    return as_fields([read_mesh(file.path)], name=file.path.stem, shared=False)


def _matches(file: DataFile) -> bool:
    # these formats have no first bytes in common
    return file.container is None and bool(file.head) and file.path.suffix.lower() in MESH_READERS


FORMAT = Format(
    f"a mesh ({', '.join(MESH_READERS)}) can be read, or a folder of them",
    """A mesh file, or a folder of them, each file a sample of the domain `P`.

    Cells of any kind become segments, triangles or tetrahedra, those of the highest dimension in
    the file; points that no cell uses are left out. Fields on points are kept, fields on cells are
    moved to points: the mean of the cells around, weighted by size. Whole numbers on cells are
    labels and stay behind. Units stay as they are; a mesh whose z are all 0 lies in the plane.
    """,
    _matches,
    read,
)
