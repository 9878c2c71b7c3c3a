"""Train and measure a codec."""
