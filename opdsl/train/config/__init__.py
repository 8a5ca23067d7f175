"""The settings of a run: schema, resolution from several sources, changes while it runs."""
