"""Networks that translate images between modalities, and discriminators."""
