"""The models of neuraloperator: their options, and the programs that they become."""
