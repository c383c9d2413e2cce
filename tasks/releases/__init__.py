"""Programs from release pages, mirrors or directories: fetched, checked, looked into, cached. Knows no host."""
