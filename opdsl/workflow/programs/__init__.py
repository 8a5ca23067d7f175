"""Programs as the workflow takes them: text, parameters and settings from several sources."""
