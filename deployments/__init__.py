"""How flows get to run: the command line, example clusters, the demo."""
