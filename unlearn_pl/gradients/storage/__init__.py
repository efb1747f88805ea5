"""How gradient rows wait until all of them are there."""
