"""opdsl: neural operators as small, checked text files."""
