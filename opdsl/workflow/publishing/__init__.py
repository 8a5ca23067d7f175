"""Publish a trained model as a folder that others open without running code of it."""
