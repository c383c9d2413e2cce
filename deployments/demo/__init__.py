"""``etcd-flows demo``: the whole story on one machine, without root."""
