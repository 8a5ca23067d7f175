"""Training, evaluation, prediction and views of models as functions, which the commands call.

Nothing here prints: progress is a callback, and what is wrong is raised.
"""
