"""``etcd-flows doctor``: is this machine fit to run the flows? Read only; no host of a cluster is contacted."""
