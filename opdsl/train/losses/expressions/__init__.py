"""Losses and metrics as expressions: typed nodes, and the functions that they may call.

`opdsl.workflow.losses` makes the nodes from text and checks their types; `evaluation` computes
them. This module imports no torch, so that a program can be checked without it.
"""
