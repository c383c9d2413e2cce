"""Certificates: the operator's CA, what the hosts need of it, and what is on them already."""
