"""Training of any `nn.Module` on samples; it knows neither the language nor file formats.

`engine.fit.fit` trains, `metrics.evaluate` measures and predicts, `report.page.write_report` shows.
`config`, `losses` and `optimizers` import no torch by themselves, so that the settings of a program
can be checked without it.
"""
