"""Expressions to values. What a name stands for, and how a node is made, is asked of interfaces."""
