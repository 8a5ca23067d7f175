"""Differential operators and integrals of predicted functions, for equations as losses."""
