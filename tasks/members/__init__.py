"""Changing who the members are: one that is broken is rebuilt, others join a restored one."""
