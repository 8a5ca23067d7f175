"""HDF5: safe reading, writing whole files."""
