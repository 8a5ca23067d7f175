"""Parts of the readers of containers: places in files, packing, pickles, stores."""
