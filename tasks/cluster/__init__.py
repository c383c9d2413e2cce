"""The cluster file: its keys, reading and checking it, and the cluster that comes out."""
