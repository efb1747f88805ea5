"""Storage of gradient rows until every objective's row is available."""
