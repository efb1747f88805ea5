"""Selection of rows: which part of a stream training sees, by its distance to other rows, its loss, or chance."""
