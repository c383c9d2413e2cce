"""Plans, tables, progress and artifacts: what people get to see."""
