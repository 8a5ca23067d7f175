"""The report page of a run and the progress that is shown while it runs."""
