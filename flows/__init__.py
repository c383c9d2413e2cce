"""What happens, in order: one module a flow, each reading like the runbook it replaces."""
