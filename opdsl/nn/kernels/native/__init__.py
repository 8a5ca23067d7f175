"""Kernels in C++, compiled where they are first used; without a compiler torch does their work."""
