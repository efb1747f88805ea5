"""One LightningModule per published method."""
