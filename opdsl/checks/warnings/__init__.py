"""What is allowed and still suspicious: a module for each, its function of the same name warns."""
