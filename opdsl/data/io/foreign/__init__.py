"""Libraries that read untrusted files in a process of their own, with limits."""
