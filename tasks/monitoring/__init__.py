"""What watches a cluster: alert rules and what Prometheus has to scrape, as files made from the cluster file."""
