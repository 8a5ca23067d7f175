"""Memory of training steps: profiles of units, peak of a schedule, and what is computed again."""
