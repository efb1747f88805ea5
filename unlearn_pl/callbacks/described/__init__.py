"""What an evaluation says about its own metrics: directions, definitions, and those that sum it up."""
