"""How each step is done: one room a subject."""
