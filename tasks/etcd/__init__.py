"""etcd itself: releases, settings, members, gates, checks."""
