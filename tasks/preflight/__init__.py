"""Before anything is changed: what an expert would look at on hosts that are about to run etcd."""
