"""Parts of the data: what is in a snapshot, what has changed, and chosen keys back into the running cluster."""
