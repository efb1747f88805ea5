"""Sources of gradients: at the current weights, of sharper neighbors, as sketches, or summed per role."""
