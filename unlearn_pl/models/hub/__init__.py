"""Models that are loaded from folders and the hub: what may be wrong with them."""
