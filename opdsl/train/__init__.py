"""Training: a module and samples come in; weights, metrics and a report go out.

The language and the readers of data never enter. `settings` is free of torch, so that a program
can be checked without it; the entry points are `fit.fit`, `evaluate.evaluate`, `evaluate.predict`
and `report.write_report`.
"""
