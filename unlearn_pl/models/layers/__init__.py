"""Single layers of a language model: their states, what these say (lenses), and what the MLP adds to them."""
