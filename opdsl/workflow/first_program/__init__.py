"""`opdsl init`: a first program for a data file."""
