"""Settings of runs that are larger than a process or a device."""
