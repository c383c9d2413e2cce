"""Places where snapshots are kept, behind one small interface."""
