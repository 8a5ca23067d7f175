"""A graph computed by several processes, each of which has a part of every grid."""
