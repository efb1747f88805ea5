"""Parts of a module while it is fitted: what optimizes it, when learning rates change, and what it may resume."""
