"""Bringing a cluster back from a snapshot: what is fixed before anything stops, the plan, its steps, the proof."""
