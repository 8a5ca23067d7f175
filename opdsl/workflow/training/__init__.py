"""Training: new runs, resumed runs, their progress and their summary."""
