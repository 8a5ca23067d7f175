"""The parts of `benchmarks/against_neuraloperator.py`: cases, competitors, measures, tables."""
