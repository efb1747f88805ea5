"""Views of rows: the same content in another form, and streams of the worst of several."""
