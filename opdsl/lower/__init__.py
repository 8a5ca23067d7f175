"""From a graph to a torch module: the plan, the guards, the module; torch only in `torch.py`."""
